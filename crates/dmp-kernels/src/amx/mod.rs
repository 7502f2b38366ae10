//! Products of matrices on Intel's matrix unit (AMX), which multiplies tiles of 16 × 32 and 32 × 16 bf16 values into f32 sums.
//!
//! A product in f32 takes each factor as a sum of three bf16 values, which together hold all 24 bits of it, and adds up the six
//! products that f32 sums can tell from nothing: x₁y₁, x₁y₂, x₂y₁, x₂y₂, x₁y₃ and x₃y₁. That is as exact as a product in f32 and
//! faster than one on the same processor's vectors. What is below 2⁻¹⁰³ loses bits, and a factor that is
//! infinite, or that bf16 would round to infinity, gives no number. Products with large frozen weights go as fixed-point numbers ([`fixed`]).

pub(crate) mod fixed;
mod multiply;
mod pack;
mod product;
mod sums;

use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

use crate::simd::{Level, level};

pub(crate) use multiply::Session;
pub(crate) use pack::{columns, pairs, rows, rows_transposed, transposed};
pub(crate) use product::{Ahead, Left, Right, depth, product};
pub(crate) use sums::{Block, Sums};

/// Rows of a tile, and words (pairs of bf16) of each.
pub(crate) const TILE: usize = 16;

/// Rows and columns of the blocks of a product: two tiles each way.
pub(crate) const SIDE: usize = 2 * TILE;

/// Values of a factor that one tile multiplies: the pairs of a row.
pub(crate) const DEEP: usize = 2 * TILE;

/// A row of a tile, in one line of the cache; loads of lines that straddle two take three times as long.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u32; TILE]);

/// Lines of a block's factor, `depth` deep and in so many parts: for each tile's depth, each part, two tiles.
pub(crate) fn lines(depth: usize, parts: usize) -> usize {
    depth.div_ceil(DEEP) * parts * SIDE
}

/// Whether the processor has the unit and the system lets this process use it; looked up once.
pub(crate) fn available() -> bool {
    static AVAILABLE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *AVAILABLE
        // Packing rounds with AVX-512-BF16.
        .get_or_init(|| {
            level() == Level::Avx512
                && is_x86_feature_detected!("avx512bf16")
                && has_tiles()
                && permitted()
        })
}

/// Leaf 7 has AMX-BF16 in bit 22 and AMX-TILE in bit 24; the system saves both states of the tiles, bits 17 and 18.
fn has_tiles() -> bool {
    #[target_feature(enable = "xsave")]
    fn saved() -> u64 {
        // SAFETY: the caller has seen OSXSAVE; register 0 is always there.
        unsafe { _xgetbv(0) }
    }
    const OSXSAVE: u32 = 1 << 27;
    const TILES: u32 = 1 << 22 | 1 << 24;
    const STATES: u64 = 1 << 17 | 1 << 18;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 || !is_x86_feature_detected!("xsave") {
        return false;
    }
    // SAFETY: the processor has the instruction.
    __cpuid_count(7, 0).edx & TILES == TILES && unsafe { saved() } & STATES == STATES
}

/// Linux gives the tiles' 8 KB of state to processes that ask.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and touches no memory of ours.
    unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        ) == 0
    }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

#[cfg(test)]
mod tests;
