//! Instruction sets: one scalar body, compiled once per level and chosen at run time.
//!
//! In: a body written as plain loops. Out: a function that takes a [`Level`] first. A level can only be made for a
//! machine that has it, so calling a compiled body is sound. AVX2 and AVX-512 run the same fused arithmetic and agree
//! in bits; the portable level rounds products before it adds them. The two levels above AVX-512 have instructions for
//! bf16, which only the products of [`super::bf16`] use, and tiles, which those of [`super::int8`] use too: every other body
//! runs its AVX-512 version there.

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

impl Level {
    /// Plain arithmetic, on every machine.
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// The best level of this machine.
    #[must_use]
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let v3 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let v4 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl");
            let bf16 = is_x86_feature_detected!("avx512bf16");
            if v3 && v4 && bf16 && amx::allowed() {
                return Self(Kind::Amx);
            }
            if v3 && v4 && bf16 {
                return Self(Kind::Avx512Bf16);
            }
            if v3 && v4 {
                return Self(Kind::Avx512);
            }
            if v3 {
                return Self(Kind::Avx2);
            }
        }
        Self::PORTABLE
    }

    /// All levels of this machine, the plainest first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let best = Self::detect();
        let kinds = [Kind::Portable, Kind::Avx2, Kind::Avx512, Kind::Avx512Bf16, Kind::Amx];
        kinds.into_iter().map(Self).filter(|&level| level <= best).collect()
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
                // SAFETY: a level above portable is only made by `Level::detect`, which found its features.
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
