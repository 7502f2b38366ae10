//! What a core's vectors can do in f32: fused multiply-adds that never leave the registers, with AVX-512 where there is it and AVX2
//! otherwise, on one thread and on two. No program multiplies matrices faster, which bounds how many times any can be beaten.
//!
//! The best of some short runs and their median: where the two differ much, another machine has the core in turn.
//!
//!     rustc --edition 2024 -O -o target/fma_peak scripts/bench/fma_peak.rs && target/fma_peak

use std::arch::x86_64::*;
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 2_000_000;

/// Sums that are under way at a time: more than the latency of two units hides behind.
const SUMS: usize = 12;

#[target_feature(enable = "avx2,fma")]
fn eight_lanes() {
    let (x, y) = (_mm256_set1_ps(black_box(0.5)), _mm256_set1_ps(1.0));
    let mut sums = [y; SUMS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(x, *sum, y);
        }
    }
    black_box(sums);
}

#[target_feature(enable = "avx512f")]
fn sixteen_lanes() {
    let (x, y) = (_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(1.0));
    let mut sums = [y; SUMS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(x, *sum, y);
        }
    }
    black_box(sums);
}

fn main() {
    if !is_x86_feature_detected!("avx2") || !is_x86_feature_detected!("fma") {
        return println!("neither AVX2 nor AVX-512 here");
    }
    let wide = is_x86_feature_detected!("avx512f");
    let work = || match wide {
        // SAFETY: the processor has AVX-512.
        true => unsafe { sixteen_lanes() },
        // SAFETY: it has AVX2 and fused multiply-add.
        false => unsafe { eight_lanes() },
    };
    let lanes = if wide { 16 } else { 8 };
    let products = (2 * lanes * SUMS * ROUNDS) as f64;
    for threads in [1, 2] {
        let mut rates: Vec<f64> = (0..41)
            .map(|_| {
                let start = Instant::now();
                std::thread::scope(|scope| {
                    (0..threads).for_each(|_| drop(scope.spawn(work)));
                });
                products / start.elapsed().as_secs_f64() / 1e9
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        println!(
            "{threads} at once, {lanes} lanes: {:.0} GFLOP/s each at best, {:.0} in the median",
            rates[40], rates[20]
        );
    }
}
