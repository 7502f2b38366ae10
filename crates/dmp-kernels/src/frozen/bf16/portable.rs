//! The product on any processor.

use super::panels::{PANEL, Panels};
use crate::vectorised;

/// Rows of a tile.
const ROWS: usize = 2;

/// `out` ← `a · b`, `a` in pairs.
pub(super) fn product(a: &[u32], b: &Panels, out: &mut [f32]) {
    let (depth, columns) = (b.pairs(), b.columns());
    for (first, width, panel) in b.iter() {
        let tiles = a.chunks(ROWS * depth).zip(out.chunks_mut(ROWS * columns));
        for (a, out) in tiles {
            bf16_tile(a, panel, width, first, columns, out);
        }
    }
}

vectorised! {
    /// Up to [`ROWS`] rows of one panel, from column `first` of `columns` on.
    fn bf16_tile(a: &[u32], panel: &[u32], width: usize, first: usize, columns: usize, out: &mut [f32]) {
        let low = |pair: u32| f32::from_bits(pair << 16);
        let high = |pair: u32| f32::from_bits(pair & 0xffff_0000);
        let depth = panel.len() / width;
        let mut sums = [[0.0f32; PANEL]; ROWS];
        for (k, b) in panel.chunks_exact(width).enumerate() {
            for (row, sums) in a.chunks_exact(depth).zip(&mut sums) {
                let (even, odd) = (low(row[k]), high(row[k]));
                for (sum, &pair) in sums.iter_mut().zip(b) {
                    *sum += even * low(pair) + odd * high(pair);
                }
            }
        }
        for (out, sums) in out.chunks_exact_mut(columns).zip(&sums) {
            let real = width.min(columns - first);
            out[first..first + real].copy_from_slice(&sums[..real]);
        }
    }
}
