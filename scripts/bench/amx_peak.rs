//! What Intel's matrix unit can do at the most: products of bf16 tiles that never leave its registers, on one core, and what that
//! is in f32 where each product takes six of them (crates/dmp-kernels/src/amx).
//!
//!     rustc -O -o target/amx_peak scripts/bench/amx_peak.rs && target/amx_peak

use std::arch::asm;
use std::time::Instant;

/// Eight tiles of sixteen rows of 64 bytes, as `ldtilecfg` reads them.
#[repr(C, align(64))]
struct Shapes([u8; 64]);

/// Multiplications and additions of a `tdpbf16ps`.
const FLOP: f64 = 2.0 * 16.0 * 16.0 * 32.0;
const ROUNDS: usize = 4_000_000;

fn main() {
    let mut shapes = Shapes([0; 64]);
    shapes.0[0] = 1;
    for tile in 0..8 {
        shapes.0[16 + 2 * tile] = 64;
        shapes.0[48 + tile] = 16;
    }
    // SAFETY: asks Linux for the tiles (arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA), then sets their shapes.
    let refused = unsafe {
        let mut result: isize = 158;
        asm!("syscall", inout("rax") result, in("rdi") 0x1023, in("rsi") 18, out("rcx") _, out("r11") _);
        result != 0
    };
    if refused {
        return println!("no matrix unit here");
    }
    let best = (0..5).map(|_| seconds(&shapes)).fold(f64::MAX, f64::min);
    let gflops = 4.0 * FLOP * ROUNDS as f64 / best / 1e9;
    println!("{gflops:.0} GFLOP/s of bf16 a core, {:.0} of f32 at six products each", gflops / 6.0);
}

/// Of so many rounds of four products into four tiles.
fn seconds(shapes: &Shapes) -> f64 {
    let start = Instant::now();
    // SAFETY: the tiles are this thread's, and no memory is touched but their shapes.
    unsafe {
        asm!(
            "ldtilecfg [{shapes}]",
            "tilezero tmm4", "tilezero tmm5", "tilezero tmm6", "tilezero tmm7",
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
            "dec {rounds}", "jnz 2b",
            "tilerelease",
            shapes = in(reg) shapes.0.as_ptr(), rounds = inout(reg) ROUNDS => _,
        );
    }
    start.elapsed().as_secs_f64()
}
