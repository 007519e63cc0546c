//! Instruction sets: one scalar body, compiled once per level and chosen at run time.
//!
//! In: a body written as plain loops. Out: a function that takes a [`Level`] first. A level can only be made for a
//! machine that has it, so calling a compiled body is sound. AVX2 and AVX-512 run the same fused arithmetic and agree
//! in bits; the portable level rounds products before it adds them. The two levels above AVX-512 have instructions for
//! bf16, and tiles, which only the products of [`super::bf16`] and [`super::coded`] use: every other body runs its AVX-512
//! version there.
//!
//! A machine is asked to serve by what is fast, not by all it has: `VDPBF16PS` does twice the products of a fused
//! multiply-add on AMD's processors (by their manuals; not measured here) and half of them on Intel's (measured: 87 against
//! 174 GFLOP/s a core on an Emerald Rapids), so Intel's use it only in tests.

use std::sync::OnceLock;

use super::bf16::amx;

/// An instruction set this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(crate) enum Kind {
    Portable,
    Avx2,
    Avx512,
    /// With `VDPBF16PS`.
    Avx512Bf16,
    /// With tiles and `TDPBF16PS`, which the operating system let this process use.
    Amx,
}

impl Kind {
    /// Whether this machine has it, given that it has those before it.
    fn present(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => is_x86_feature_detected!("avx512bf16"),
            Self::Amx => amx::allowed(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}

impl Level {
    /// Plain arithmetic, on every machine.
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// The level that is best on this machine.
    #[must_use]
    pub fn detect() -> Self {
        // Asked for once: a virtual machine's monitor may answer `cpuid`.
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Self::all().into_iter().rfind(|level| level.pays()).unwrap_or(Self::PORTABLE))
    }

    /// All levels of this machine, the plainest first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let kinds = [Kind::Portable, Kind::Avx2, Kind::Avx512, Kind::Avx512Bf16, Kind::Amx];
        kinds.into_iter().take_while(|kind| kind.present()).map(Self).collect()
    }

    /// Whether an instruction multiplies pairs of bf16.
    pub(crate) fn multiplies_bf16(self) -> bool {
        self.0 >= Kind::Avx512Bf16
    }

    /// Whether it is faster than the level below.
    fn pays(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        if self.0 == Kind::Avx512Bf16 {
            // The vendor's name, four letters a register: "AuthenticAMD".
            return std::arch::x86_64::__cpuid(0).ebx == u32::from_le_bytes(*b"Auth");
        }
        true
    }

    pub(crate) fn kind(self) -> Kind {
        self.0
    }
}

impl Default for Level {
    fn default() -> Self {
        Self::detect()
    }
}

/// What a body may ask of the level it is compiled for.
pub(crate) trait Isa {
    /// `a · b + c`.
    fn fma(a: f32, b: f32, c: f32) -> f32;
}

/// One rounding.
pub(crate) enum Fused {}
/// Two roundings, since a fused product without the instruction is a slow library call.
pub(crate) enum Plain {}

impl Isa for Fused {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

impl Isa for Plain {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// Compiles `fn name<S>(args) { body }` for every level into `fn name(level, args)`. `S: Isa` is the level in the body.
macro_rules! kernel {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$s:ident>($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(unsafe_code)] // Calling a body compiled for more features than the crate needs a promise.
        $vis fn $name(level: $crate::cpu::Level, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body<$s: $crate::cpu::Isa>($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                body::<$crate::cpu::level::Fused>($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                body::<$crate::cpu::level::Fused>($($arg),*)
            }

            match level.kind() {
                // SAFETY: a level above portable is only made where its features were found.
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::level::Kind::Avx512
                | $crate::cpu::level::Kind::Avx512Bf16
                | $crate::cpu::level::Kind::Amx => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::level::Kind::Avx2 => unsafe { avx2($($arg),*) },
                _ => body::<$crate::cpu::level::Plain>($($arg),*),
            }
        }
    };
}
pub(crate) use kernel;
