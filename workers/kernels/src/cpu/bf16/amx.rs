//! Steps with AMX: `TDPBF16PS` over tiles of 16 rows of 64 bytes.
//!
//! In: packed tiles as they are. Out: sums of 2 × 2 tiles; the instruction takes denormals for zero. A process asks the
//! kernel for the tiles' memory once; where that is refused, or the processor has no tiles, [`allowed`] says no and a
//! level below is used. Run on an emulated processor that has them
//! (`make test-isa`), never on a real one.

#![allow(unsafe_code)] // Instructions that have no stable intrinsics.

/// Whether this process may use tiles of bf16. Asks once.
pub(crate) fn allowed() -> bool {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    {
        static ALLOWED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        *ALLOWED.get_or_init(|| x86::present() && x86::permitted())
    }
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    false
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Tiles, peak};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{configure, release};

/// Whether tiles that this process may use multiply bytes, too.
#[cfg(target_arch = "x86_64")]
pub(crate) fn bytes() -> bool {
    static BYTES: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *BYTES.get_or_init(|| allowed() && x86::bytes())
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;

    use super::super::blocks::{Step, Unit};
    use super::super::pack::{SIDE, TILE};

    /// Whether processor and operating system know tiles.
    #[cfg(target_os = "linux")]
    pub fn present() -> bool {
        use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

        /// Bits of leaf 7: bf16 products, tiles. Bit of leaf 1: the system saves extended state.
        const PRODUCTS: u32 = 1 << 22;
        const TILES: u32 = 1 << 24;
        const SAVES: u32 = 1 << 27;
        /// Components of the saved state: the tiles' shapes, and what is in them.
        const SAVED: u64 = 1 << 17 | 1 << 18;

        #[target_feature(enable = "xsave")]
        fn saved() -> u64 {
            // SAFETY: the system saves extended state, which implies the instruction; register 0 always exists.
            unsafe { _xgetbv(0) }
        }
        let saves = __cpuid(0).eax >= 7 && __cpuid(1).ecx & SAVES != 0;
        let wanted = PRODUCTS | TILES;
        // SAFETY: as above.
        saves && __cpuid_count(7, 0).edx & wanted == wanted && unsafe { saved() } & SAVED == SAVED
    }

    /// Whether a processor that has tiles multiplies bytes in them.
    pub fn bytes() -> bool {
        const BYTES: u32 = 1 << 25;
        std::arch::x86_64::__cpuid_count(7, 0).edx & BYTES != 0
    }

    /// Asks the kernel for the tiles' memory, for all threads of this process.
    #[cfg(target_os = "linux")]
    pub fn permitted() -> bool {
        const ARCH_PRCTL: i64 = 158;
        const REQUEST_PERMISSION: i64 = 0x1023;
        const TILE_DATA: i64 = 18;
        let mut answer = ARCH_PRCTL;
        // SAFETY: a system call that takes two numbers, changes nothing in memory, and answers 0 or an error.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") answer,
                in("rdi") REQUEST_PERMISSION,
                in("rsi") TILE_DATA,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        answer == 0
    }

    /// Palette 1, then bytes of a row and rows of each tile.
    #[repr(C, align(64))]
    struct Shapes {
        palette: u8,
        start: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }

    static SHAPES: Shapes = {
        let (mut row_bytes, mut rows, mut tile) = ([0; 16], [0; 16], 0);
        while tile < 8 {
            (row_bytes[tile], rows[tile]) = (4 * SIDE as u16, SIDE as u8);
            tile += 1;
        }
        Shapes { palette: 1, start: 0, reserved: [0; 14], row_bytes, rows }
    };

    /// Gives this thread's tiles their shapes. What is between this and [`release`] must not call anything that may use
    /// tiles.
    ///
    /// # Safety
    /// Tiles are allowed.
    pub unsafe fn configure() {
        // SAFETY: the caller's promise; 64 bytes are read.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, readonly, preserves_flags)) }
    }

    /// Frees this thread's tiles.
    ///
    /// # Safety
    /// Tiles are allowed.
    pub unsafe fn release() {
        // SAFETY: the caller's promise.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) }
    }

    /// Four products of tiles of zeros a round; gives the operations done.
    ///
    /// # Safety
    /// Tiles are allowed, and `rounds` is not zero.
    pub unsafe fn peak(rounds: u64) -> u64 {
        // SAFETY: the caller's promise; tiles have shapes before they are used.
        unsafe {
            configure();
            asm!(
                "tilezero tmm4",
                "tilezero tmm5",
                "2:",
                "tdpbf16ps tmm0, tmm4, tmm5",
                "tdpbf16ps tmm1, tmm4, tmm5",
                "tdpbf16ps tmm2, tmm4, tmm5",
                "tdpbf16ps tmm3, tmm4, tmm5",
                "dec {}",
                "jnz 2b",
                inout(reg) rounds => _,
                out("tmm0") _,
                out("tmm1") _,
                out("tmm2") _,
                out("tmm3") _,
                out("tmm4") _,
                out("tmm5") _,
                options(nomem, nostack),
            );
            release();
        }
        rounds * 4 * (2 * SIDE * SIDE * 2 * SIDE) as u64
    }

    /// 2 × 2 tiles of sums.
    pub struct Tiles;

    impl Unit for Tiles {
        const ROWS: usize = 2 * SIDE;
        const COLS: usize = 2 * SIDE;
        const TILES: usize = 16;

        #[inline(always)]
        unsafe fn step(at: Step) {
            // SAFETY: the caller's promise: four tiles of output and all tiles of the sides, and shapes are set.
            unsafe {
                asm!(
                    "test {add:e}, {add:e}",
                    "jz 2f",
                    "tileloadd tmm0, [{upper} + {row}*1]",
                    "tileloadd tmm1, [{upper} + {row}*1 + 64]",
                    "tileloadd tmm2, [{lower} + {row}*1]",
                    "tileloadd tmm3, [{lower} + {row}*1 + 64]",
                    "jmp 3f",
                    "2:",
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "3:",
                    "tileloadd tmm4, [{left} + {line}*1]",
                    "tileloadd tmm6, [{right} + {line}*1]",
                    "tileloadd tmm5, [{left_next} + {line}*1]",
                    "tileloadd tmm7, [{right_next} + {line}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "add {left}, {bytes}",
                    "add {left_next}, {bytes}",
                    "add {right}, {bytes}",
                    "add {right_next}, {bytes}",
                    "dec {tiles}",
                    "jnz 3b",
                    "tilestored [{upper} + {row}*1], tmm0",
                    "tilestored [{upper} + {row}*1 + 64], tmm1",
                    "tilestored [{lower} + {row}*1], tmm2",
                    "tilestored [{lower} + {row}*1 + 64], tmm3",
                    add = in(reg) u32::from(at.add),
                    upper = in(reg) at.out,
                    lower = in(reg) at.out.add(SIDE * at.row),
                    row = in(reg) 4 * at.row,
                    left = inout(reg) at.left => _,
                    left_next = inout(reg) at.left.add(at.left_block) => _,
                    right = inout(reg) at.right => _,
                    right_next = inout(reg) at.right.add(at.right_block) => _,
                    tiles = inout(reg) at.tiles => _,
                    line = in(reg) 4 * SIDE,
                    bytes = const 4 * TILE,
                    out("tmm0") _,
                    out("tmm1") _,
                    out("tmm2") _,
                    out("tmm3") _,
                    out("tmm4") _,
                    out("tmm5") _,
                    out("tmm6") _,
                    out("tmm7") _,
                    options(nostack),
                );
            }
        }
    }
}
