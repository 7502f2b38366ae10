//! Convolution with AVX2: windows of a few pixels are gathered in panels and multiplied with all kernels while they are in cache.

use std::arch::x86_64::*;
use std::ops::Range;

use super::windows::Windows;
use super::{Filter, Shape};
use crate::avx2::{Interleaved, Line, Out, TALL, VECTORS, WIDE, product};
use crate::profile::Kernel;
use crate::simd::{Level, level};

static PRODUCT: Kernel = Kernel::new("gemm f32, convolution");

/// Values of a window that are summed before the next ones' turn: a tile's kernels stay in the first cache, and the panels of
/// [`PIECE`] pixels in half of a second one of half a megabyte.
const DEPTH: usize = 512;

/// Output pixels that are made at a time.
pub(super) const PIECE: usize = 128;

/// Kernels in tiles of [`TALL`], the last one filled up with zeros: for each value of a window, those of the tile's kernels.
///
/// A window's values are in the order of its places, for each place its channels.
#[derive(Debug)]
pub(super) struct Kernels {
    values: Vec<f32>,
    inner: usize,
    outputs: usize,
}

impl Kernels {
    /// Of `[outputs, inputs, kh, kw]`.
    ///
    /// # Panics
    /// Where the CPU lacks AVX2, which every product relies on: a bug of the caller, never of a user.
    pub(super) fn new(weight: &[f32], filter: &Filter) -> Self {
        assert_ne!(level(), Level::Portable, "panels are for AVX2");
        let (inner, outputs) = (filter.patch(), filter.outputs);
        let places = inner / filter.inputs;
        let mut values = vec![0.0; outputs.div_ceil(TALL) * inner * TALL];
        for (output, kernel) in weight.chunks_exact(inner).enumerate() {
            let tile = &mut values[output / TALL * inner * TALL + output % TALL..];
            for (channel, kernel) in kernel.chunks_exact(places).enumerate() {
                for (place, &value) in kernel.iter().enumerate() {
                    tile[(place * filter.inputs + channel) * TALL] = value;
                }
            }
        }
        Self {
            values,
            inner,
            outputs,
        }
    }

    /// `out` `[outputs, pixels]` ← kernels · windows of these output pixels of `x`, `[inputs, h, w]`.
    pub(super) fn multiply(
        &self,
        shape: &Shape,
        x: &[f32],
        panels: &mut Vec<__m256>,
        here: Range<usize>,
        out: &mut [f32],
    ) {
        assert_eq!(self.inner, shape.filter.patch(), "kernels");
        let windows = Windows::new(shape, x);
        // SAFETY: `new` has seen that the processor has the instructions.
        PRODUCT.time(1, || unsafe { self.product(&windows, panels, here, out) });
    }

    #[target_feature(enable = "avx2,fma")]
    fn product(
        &self,
        windows: &Windows<'_>,
        panels: &mut Vec<__m256>,
        here: Range<usize>,
        out: &mut [f32],
    ) {
        // As deep as each other, so that none is too short to be worth its start.
        let depth = self.inner.div_ceil(self.inner.div_ceil(DEPTH));
        let size = here.len().div_ceil(WIDE) * depth * VECTORS;
        panels.resize(size, _mm256_setzero_ps());
        for start in (0..self.inner).step_by(depth) {
            let deep = start..self.inner.min(start + depth);
            let groups = panels.chunks_exact_mut(depth * VECTORS);
            for (panel, first) in groups.zip(here.clone().step_by(WIDE)) {
                let (panel, _) = panel.as_chunks_mut();
                let pixels = first..here.end.min(first + WIDE);
                windows.gather(pixels, deep.start, &mut panel[..deep.len()]);
            }
            self.sum(panels, depth, deep, here.clone(), out);
        }
    }

    /// Adds what some of the windows' values bring to `out`, or puts it there if they are the first.
    #[target_feature(enable = "avx2,fma")]
    fn sum(
        &self,
        panels: &[__m256],
        depth: usize,
        deep: Range<usize>,
        here: Range<usize>,
        out: &mut [f32],
    ) {
        let row = out.len() / self.outputs;
        let add = deep.start > 0;
        let tiles = self.values.chunks_exact(self.inner * TALL);
        for (tile, out) in tiles.zip(out.chunks_mut(TALL * row)) {
            let (tile, _) = tile[deep.start * TALL..deep.end * TALL].as_chunks();
            let groups = panels.chunks_exact(depth * VECTORS);
            for (panel, first) in groups.zip(here.clone().step_by(WIDE)) {
                let (panel, _): (&[Line], _) = panel.as_chunks();
                let out = Out {
                    rows: &mut *out,
                    stride: row,
                    columns: first..here.end.min(first + WIDE),
                    add,
                };
                product(Interleaved(tile), &panel[..deep.len()], out);
            }
        }
    }
}
