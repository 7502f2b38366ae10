//! Convolution with AVX2: windows of a few pixels are gathered in panels and multiplied with all kernels while they are in cache.

use std::arch::x86_64::*;
use std::ops::Range;

use super::windows::Windows;
use super::{Filter, Shape};
use crate::profile::Kernel;
use crate::simd::{Level, level};

static PRODUCT: Kernel = Kernel::new("gemm f32, convolution");

/// Kernels of a tile of sums: with [`VECTORS`] they fill twelve of the sixteen registers.
const TALL: usize = 6;

/// Vectors of pixels in a panel.
pub(super) const VECTORS: usize = 2;

/// Values of a vector.
pub(super) const LANES: usize = 8;

/// Pixels of a panel.
pub(super) const WIDE: usize = VECTORS * LANES;

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
            let tile = &tile[deep.start * TALL..deep.end * TALL];
            let groups = panels.chunks_exact(depth * VECTORS);
            for (panel, first) in groups.zip(here.clone().step_by(WIDE)) {
                let (panel, _) = panel.as_chunks();
                let panel = &panel[..deep.len()];
                let pixels = first..here.end.min(first + WIDE);
                if pixels.len() > LANES {
                    store(sums::<VECTORS>(tile, panel), add, pixels, row, out);
                } else {
                    store(sums::<1>(tile, panel), add, pixels, row, out);
                }
            }
        }
    }
}

/// What a tile's kernels and the first `V` vectors of a panel's pixels sum up to.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn sums<const V: usize>(kernels: &[f32], panel: &[[__m256; VECTORS]]) -> [[__m256; V]; TALL] {
    const { assert!(V <= VECTORS) };
    let mut sums = [[_mm256_setzero_ps(); V]; TALL];
    let (kernels, _) = kernels.as_chunks::<TALL>();
    for (kernels, pixels) in kernels.iter().zip(panel) {
        for (sums, &kernel) in sums.iter_mut().zip(kernels) {
            let kernel = _mm256_set1_ps(kernel);
            for (sum, &pixels) in sums.iter_mut().zip(pixels) {
                *sum = _mm256_fmadd_ps(kernel, pixels, *sum);
            }
        }
    }
    sums
}

/// Brings sums to these pixels of `out`, of whose rows of `row` there are as many as there are kernels.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn store<const V: usize>(
    sums: [[__m256; V]; TALL],
    add: bool,
    pixels: Range<usize>,
    row: usize,
    out: &mut [f32],
) {
    for (sums, out) in sums.iter().zip(out.chunks_exact_mut(row)) {
        let parts = out[pixels.clone()].chunks_mut(LANES);
        for (&sum, out) in sums.iter().zip(parts) {
            let whole = out.len() == LANES;
            let lanes = lanes(0..out.len());
            let at = out.as_mut_ptr();
            // SAFETY: eight values are there, or lanes that are not there are not touched.
            unsafe {
                let sum = match (add, whole) {
                    (false, _) => sum,
                    (true, true) => _mm256_add_ps(sum, _mm256_loadu_ps(at)),
                    (true, false) => _mm256_add_ps(sum, _mm256_maskload_ps(at, lanes)),
                };
                match whole {
                    true => _mm256_storeu_ps(at, sum),
                    false => _mm256_maskstore_ps(at, lanes, sum),
                }
            }
        }
    }
}

/// A mask of these lanes of eight; those outside of 0 to 8 do not count.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn lanes(lanes: Range<usize>) -> __m256i {
    let each = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let from = _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes.start as i32), each);
    let to = _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes.end as i32), each);
    _mm256_andnot_si256(from, to)
}
