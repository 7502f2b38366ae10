//! What Intel's matrix unit can do on one core: products of tiles that never leave its registers, and of tiles that come from the first
//! cache. In f32 a product takes six of bf16 (crates/dmp-kernels/src/amx), or eight of bytes (its `fixed`).
//!
//! The best of some short runs and their median: where the two differ much, another thread has the unit in turn.
//!
//!     rustc --edition 2024 -O -o target/amx_peak scripts/bench/amx_peak.rs && target/amx_peak

use std::arch::asm;
use std::time::Instant;

/// Eight tiles of sixteen rows of 64 bytes, as `ldtilecfg` reads them.
#[repr(C, align(64))]
struct Shapes([u8; 64]);

/// Six tiles: of each factor's value three bytes, or parts.
#[repr(C, align(64))]
struct Tiles([u8; 6 * 1024]);

const ROUNDS: usize = 50_000;

/// Seconds of so many rounds of these instructions, over and over.
macro_rules! seconds {
    ($shapes:ident, $tiles:ident, $($instruction:literal),* $(,)?) => {
        (0..41).map(|_| {
            let start = Instant::now();
            // SAFETY: the tiles are this thread's, and what is read is there.
            unsafe {
                asm!(
                    "ldtilecfg [{shapes}]",
                    "2:",
                    $($instruction,)*
                    "test {tiles}, {row}",
                    "dec {rounds}", "jnz 2b",
                    "tilerelease",
                    shapes = in(reg) $shapes.0.as_ptr(), tiles = in(reg) $tiles.0.as_ptr(), row = in(reg) 64_usize,
                    rounds = inout(reg) ROUNDS => _,
                );
            }
            start.elapsed().as_secs_f64()
        }).collect::<Vec<_>>()
    };
}

fn main() {
    let mut shapes = Shapes([0; 64]);
    shapes.0[0] = 1;
    for tile in 0..8 {
        shapes.0[16 + 2 * tile] = 64;
        shapes.0[48 + tile] = 16;
    }
    // SAFETY: asks Linux for the tiles (arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA).
    let refused = unsafe {
        let mut result: isize = 158;
        asm!("syscall", inout("rax") result, in("rdi") 0x1023, in("rsi") 18, out("rcx") _, out("r11") _);
        result != 0
    };
    if refused {
        return println!("no matrix unit here");
    }
    let tiles = Tiles([0; 6 * 1024]);
    let parts = seconds!(shapes, tiles,
        "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7", "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
    );
    print("bf16, from registers", parts, 4.0 * 32.0, 6.0);
    let bytes = seconds!(shapes, tiles,
        "tdpbssd tmm0, tmm5, tmm6", "tdpbssd tmm1, tmm5, tmm7", "tdpbssd tmm2, tmm5, tmm6", "tdpbssd tmm4, tmm5, tmm7",
    );
    print("bytes, from registers", bytes, 4.0 * 64.0, 8.0);
    let loaded = seconds!(shapes, tiles,
        "tileloadd tmm5, [{tiles} + {row}]", "tileloadd tmm6, [{tiles} + {row} + 3072]", "tdpbssd tmm0, tmm5, tmm6",
        "tileloadd tmm7, [{tiles} + {row} + 4096]", "tdpbssd tmm1, tmm5, tmm7",
        "tileloadd tmm5, [{tiles} + {row} + 2048]", "tdpbssd tmm2, tmm5, tmm6", "tdpbssd tmm4, tmm5, tmm7",
        "tileloadd tmm5, [{tiles} + {row} + 1024]", "tdpbssd tmm3, tmm5, tmm7", "tdpbssd tmm1, tmm5, tmm6",
        "tileloadd tmm6, [{tiles} + {row}]", "tileloadd tmm7, [{tiles} + {row} + 5120]",
        "tdpbssd tmm2, tmm6, tmm7", "tdpbssd tmm4, tmm5, tmm7",
    );
    print("bytes, as dmp loads them", loaded, 8.0 * 64.0, 8.0);
}

/// Rates of rounds that each sum so many products of 16 by 16 values, and of f32 at so many each.
fn print(name: &str, mut seconds: Vec<f64>, depth: f64, products: f64) {
    seconds.sort_by(f64::total_cmp);
    let rate = |seconds: f64| 2.0 * 16.0 * 16.0 * depth * ROUNDS as f64 / seconds / 1e9;
    let [best, median] = [seconds[0], seconds[seconds.len() / 2]].map(rate);
    let [exact, usual] = [best, median].map(|rate| rate / products);
    println!("{name}: {best:.0} G a second and core, median {median:.0}; of f32 {exact:.0} GFLOP/s, median {usual:.0}");
}
