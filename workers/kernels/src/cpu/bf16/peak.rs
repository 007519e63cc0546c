//! What a core can do at most with the instruction that products in bf16 use: a loop that touches registers only.
//!
//! In: a level and how many rounds. Out: the operations done; the caller holds the clock. For benchmarks.

#![allow(unsafe_code)] // Instructions written out, so that no compiler shortens the loop.

use crate::cpu::Level;
#[cfg(target_arch = "x86_64")]
use crate::cpu::level::Kind;

/// Ten independent instructions a round.
#[cfg(target_arch = "x86_64")]
macro_rules! ten {
    ($rounds:ident, $name:literal, $left:literal, $right:literal, $wide:literal) => {
        std::arch::asm!(
            "2:",
            concat!($name, " ", $wide, "0, ", $left, ", ", $right),
            concat!($name, " ", $wide, "1, ", $left, ", ", $right),
            concat!($name, " ", $wide, "2, ", $left, ", ", $right),
            concat!($name, " ", $wide, "3, ", $left, ", ", $right),
            concat!($name, " ", $wide, "4, ", $left, ", ", $right),
            concat!($name, " ", $wide, "5, ", $left, ", ", $right),
            concat!($name, " ", $wide, "6, ", $left, ", ", $right),
            concat!($name, " ", $wide, "7, ", $left, ", ", $right),
            concat!($name, " ", $wide, "8, ", $left, ", ", $right),
            concat!($name, " ", $wide, "9, ", $left, ", ", $right),
            "dec {}",
            "jnz 2b",
            inout(reg) $rounds => _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _,
            out("xmm5") _, out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _,
            options(nomem, nostack),
        )
    };
}

/// Runs the loop for `rounds ≥ 1` rounds. Gives the name of the instruction and the operations done, or nothing at a
/// level whose code is the compiler's.
#[must_use]
pub fn peak(level: Level, rounds: u64) -> Option<(&'static str, u64)> {
    #[cfg(target_arch = "x86_64")]
    {
        let rounds = rounds.max(1);
        // SAFETY: a level above portable is only made where its instructions were found; they change
        // registers that are said to change, and tiles are given back.
        unsafe {
            match level.kind() {
                Kind::Portable => None,
                Kind::Avx2 => {
                    ten!(rounds, "vfmadd231ps", "ymm14", "ymm15", "ymm");
                    Some(("vfmadd231ps ymm", rounds * 10 * 16))
                }
                Kind::Avx512 => {
                    ten!(rounds, "vfmadd231ps", "zmm14", "zmm15", "zmm");
                    Some(("vfmadd231ps zmm", rounds * 10 * 32))
                }
                Kind::Avx512Bf16 => {
                    ten!(rounds, "vdpbf16ps", "zmm14", "zmm15", "zmm");
                    Some(("vdpbf16ps zmm", rounds * 10 * 64))
                }
                Kind::Amx => Some(("tdpbf16ps", super::amx::peak(rounds))),
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (level, rounds);
        None
    }
}
