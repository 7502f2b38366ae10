//! Convolution on the matrix unit: pixels are split into parts of bf16 once, and gathered in parts, pairs of channels at a time.

use std::arch::x86_64::*;
use std::ops::Range;

use super::split::{Image, Layout};
use super::{Filter, Shape};
use crate::amx::{self, DEEP, Left, Line, Right, SIDE, TILE};
use crate::profile::Kernel;

static PRODUCT: Kernel = Kernel::new("gemm f32, convolution");

/// Parts of a value: all bits of f32.
pub(super) const PARTS: usize = 3;

/// Kernels in tiles.
#[derive(Debug)]
pub(super) enum Kernels {
    /// Of windows that are pixels, in the order of channels.
    Pixels(Left<PARTS>),
    /// In the order of [`Windows`]: for each place of the kernel its channels, an even number of them.
    Windows(Left<PARTS>),
}

impl Kernels {
    /// Of `[outputs, inputs, kh, kw]`.
    pub(super) fn new(weight: &[f32], filter: &Filter) -> Self {
        if filter.is_pointwise() {
            return Self::Pixels(Left::pack(weight, filter.patch()));
        }
        let [rows, columns] = filter.kernel;
        let (places, inputs) = (rows * columns, filter.inputs);
        let even = inputs.next_multiple_of(2);
        let mut ordered = vec![0.0; filter.outputs * places * even];
        for (ordered, kernel) in ordered
            .chunks_exact_mut(places * even)
            .zip(weight.chunks_exact(inputs * places))
        {
            for (place, channels) in ordered.chunks_exact_mut(even).enumerate() {
                for (value, channel) in channels.iter_mut().zip(kernel.chunks_exact(places)) {
                    *value = channel[place];
                }
            }
        }
        Self::Windows(Left::pack(&ordered, places * even))
    }

    /// Takes up `x`, `[inputs, h, w]`.
    pub(super) fn prepare(&self, shape: &Shape, x: &[f32], image: &mut Image) {
        if let Self::Windows(_) = self {
            image.split(shape, x);
        }
    }

    /// `out` `[outputs, pixels]` ← kernels · windows of these output pixels of `x`, which `image` has taken up.
    pub(super) fn multiply(
        &self,
        shape: &Shape,
        x: &[f32],
        image: &Image,
        here: Range<usize>,
        out: &mut [f32],
    ) {
        let stride = out.len() / shape.filter.outputs;
        let (count, out) = (here.len(), &mut out[here.start..]);
        PRODUCT.time(1, || match self {
            Self::Pixels(kernels) => {
                let values = &x[here.start..];
                let pixels = Pixels {
                    values,
                    count,
                    stride,
                };
                kernels.product(&pixels, count, out, stride);
            }
            Self::Windows(kernels) => {
                kernels.product(&Windows::new(image, shape, here), count, out, stride);
            }
        });
    }
}

/// Windows of one pixel each: rows of channels, `stride` apart.
struct Pixels<'a> {
    values: &'a [f32],
    count: usize,
    stride: usize,
}

impl Right<PARTS> for Pixels<'_> {
    fn tiles<'a>(
        &'a self,
        first: usize,
        deep: Range<usize>,
        scratch: &'a mut [Line],
    ) -> &'a [Line] {
        let values = &self.values[deep.start * self.stride + first..];
        let count = SIDE.min(self.count - first);
        // SAFETY: the product has seen that the processor has the instructions.
        unsafe { amx::columns::<PARTS>(values, self.stride, count, deep.len(), scratch) };
        scratch
    }
}

/// Windows of output pixels as columns: rows are, for each place of the kernel, pairs of channels.
struct Windows<'a> {
    words: &'a [u32],
    layout: Layout,
    /// Where each place of the kernel is from a window's first word.
    places: Vec<usize>,
    /// Of channels.
    pairs: usize,
    /// Output pixels of a row, and words from one such row to the next.
    columns: usize,
    down: usize,
    pixels: Range<usize>,
}

/// Neighbouring pixels of one output row among sixteen: their lanes, and where lane 0 would be.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    lanes: __mmask16,
    start: isize,
}

impl<'a> Windows<'a> {
    /// Of these output pixels of an image.
    fn new(image: &'a Image, shape: &Shape, pixels: Range<usize>) -> Self {
        let (words, layout) = (image.words(), Layout::new(shape));
        assert_eq!(words.len(), layout.rows * layout.row, "image");
        // With the sizes that go out, which hold only windows that fit: what reading unchecked relies on.
        let [rows, columns] = shape.out_size();
        assert!(pixels.end <= rows * columns, "pixels");
        let [kernel_rows, kernel_columns] = shape.filter.kernel;
        let places = (0..kernel_rows)
            .flat_map(|y| (0..kernel_columns).map(move |x| (y, x)))
            .map(|(y, x)| {
                y * layout.row + x % shape.filter.stride * layout.phase + x / shape.filter.stride
            })
            .collect();
        Self {
            words,
            layout,
            places,
            pairs: shape.filter.inputs.div_ceil(2),
            columns,
            down: shape.filter.stride * layout.row,
            pixels,
        }
    }

    /// The runs that up to sixteen pixels from `first` on consist of.
    fn runs(&self, first: usize, runs: &mut [Run; TILE]) -> usize {
        let (mut lane, mut count) = (0, 0);
        let all = TILE.min(self.pixels.len().saturating_sub(first));
        while lane < all {
            let pixel = self.pixels.start + first + lane;
            let (y, x) = (pixel / self.columns, pixel % self.columns);
            let length = (self.columns - x).min(all - lane);
            runs[count] = Run {
                lanes: (((1_u32 << length) - 1) << lane) as __mmask16,
                start: (y * self.down + x) as isize - lane as isize,
            };
            lane += length;
            count += 1;
        }
        count
    }

    #[target_feature(enable = "avx512f")]
    fn gather(&self, first: usize, deep: Range<usize>, out: &mut [Line]) {
        let mut runs = [[Run::default(); TILE]; 2];
        let counts = [0, 1].map(|side| self.runs(first + side * TILE, &mut runs[side]));
        let mut pair = deep.start / 2 % self.pairs;
        let mut place = deep.start / 2 / self.pairs;
        let mut left = deep.len() / 2;
        for out in out.chunks_exact_mut(PARTS * SIDE) {
            for row in 0..TILE {
                let at = match left {
                    0 => None,
                    _ => Some(self.places[place] + pair * self.layout.pair),
                };
                for (side, runs) in runs.iter().enumerate() {
                    for part in 0..PARTS {
                        let mut words = _mm512_setzero_si512();
                        if let Some(at) = at {
                            let from = self
                                .words
                                .as_ptr()
                                .wrapping_add(at + part * self.layout.part);
                            for run in &runs[..counts[side]] {
                                // SAFETY: words of windows that fit in the image, as `new` has seen; lanes of others are not read.
                                words = unsafe {
                                    let from = from.wrapping_offset(run.start).cast();
                                    _mm512_mask_loadu_epi32(words, run.lanes, from)
                                };
                            }
                        }
                        let line = &mut out[part * SIDE + side * TILE + row];
                        // SAFETY: a line has 64 bytes, and is aligned to as many.
                        unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), words) };
                    }
                }
                if left > 0 {
                    left -= 1;
                    pair += 1;
                    if pair == self.pairs {
                        (pair, place) = (0, place + 1);
                    }
                }
            }
        }
    }
}

impl Right<PARTS> for Windows<'_> {
    fn tiles<'a>(
        &'a self,
        first: usize,
        deep: Range<usize>,
        scratch: &'a mut [Line],
    ) -> &'a [Line] {
        let scratch = &mut scratch[..amx::lines(deep.len(), PARTS)];
        debug_assert!(deep.start.is_multiple_of(DEEP));
        // SAFETY: the product has seen that the processor has the instructions.
        unsafe { self.gather(first, deep, scratch) };
        scratch
    }
}
