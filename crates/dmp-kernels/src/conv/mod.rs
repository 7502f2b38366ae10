//! Convolution with bias, and ReLU if it is asked for, forward only: what a feature network of photographs and an autoencoder spend
//! their time on.
//!
//! Output pixels are taken a few at a time: their patches are gathered side by side (as numbers, or on Intel's matrix unit as tiles of it)
//! and multiplied with the kernels while both are in cache.

mod bands;
mod gather;
#[cfg(target_arch = "x86_64")]
mod panels;
#[cfg(target_arch = "x86_64")]
mod split;
#[cfg(target_arch = "x86_64")]
mod tiles;
#[cfg(target_arch = "x86_64")]
mod windows;

use std::cell::RefCell;
use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use crate::amx;
use crate::matmul::{Store, View, matmul};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Level, level};
use crate::vectorised;
use gather::gather;

/// Values of gathered patches, or of the product, held at a time: half a megabyte, well inside a core's second-level cache.
const GATHERED: usize = 1 << 17;

/// A convolution's sizes, whatever images it is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// Channels that come in.
    pub inputs: usize,
    /// Channels that go out.
    pub outputs: usize,
    /// Rows and columns of the kernels.
    pub kernel: [usize; 2],
    /// Step of the kernels in both directions.
    pub stride: usize,
    /// Zeros around the images: above and below, left and right.
    pub padding: [usize; 2],
}

impl Filter {
    /// Rows and columns that go out where these come in.
    ///
    /// # Panics
    /// When a kernel is larger than an image and its padding, or nothing, or the stride is: a bug of the caller, never of a user.
    pub fn out_size(&self, size: [usize; 2]) -> [usize; 2] {
        assert!(self.stride > 0 && !self.kernel.contains(&0), "no kernels");
        std::array::from_fn(|i| {
            let padding = self.padding[i].checked_mul(2);
            let padded = padding.and_then(|padding| padding.checked_add(size[i]));
            let room = padded.expect(TOO_LARGE).checked_sub(self.kernel[i]);
            room.expect("a kernel larger than the padded image") / self.stride + 1
        })
    }

    /// Values of a patch, `inputs · kernel`.
    fn patch(&self) -> usize {
        product([self.inputs, self.kernel[0], self.kernel[1]])
    }

    /// Whether a patch is a pixel, so that nothing needs to be gathered.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == 1 && self.padding == [0, 0]
    }
}

/// A filter and the rows and columns of the images it is applied to.
#[derive(Debug, Clone, Copy)]
struct Shape {
    filter: Filter,
    size: [usize; 2],
}

impl Shape {
    fn out_size(&self) -> [usize; 2] {
        self.filter.out_size(self.size)
    }

    /// Values of an image.
    fn image(&self) -> usize {
        product([self.filter.inputs, self.size[0], self.size[1]])
    }

    /// Pixels that go out.
    fn pixels(&self) -> usize {
        product(self.out_size())
    }
}

const TOO_LARGE: &str = "sizes larger than any memory";

/// What sizes come to. One that wraps round would pass for a small one, and values outside of slices be read.
fn product<const N: usize>(sizes: [usize; N]) -> usize {
    let product = sizes.into_iter().try_fold(1, usize::checked_mul);
    product.expect(TOO_LARGE)
}

/// Kernels and biases, the kernels in the order in which this processor multiplies them best.
#[derive(Debug)]
pub struct Conv {
    filter: Filter,
    kernels: Kernels,
    bias: Vec<f32>,
    relu: bool,
}

impl Conv {
    /// Of `weight` `[outputs, inputs, kh, kw]` and `bias` `[outputs]`, with ReLU after it or not.
    ///
    /// # Panics
    /// When a slice does not have the size that `filter` says, or kernels have no values: a bug of the caller, never of a user.
    pub fn new(filter: Filter, weight: &[f32], bias: &[f32], relu: bool) -> Self {
        assert!(filter.patch() > 0, "no kernels");
        let values = product([filter.outputs, filter.patch()]);
        assert_eq!(weight.len(), values, "weight");
        assert_eq!(bias.len(), filter.outputs, "bias");
        Self {
            filter,
            kernels: Kernels::new(weight, &filter),
            bias: bias.to_vec(),
            relu,
        }
    }

    /// What it is.
    pub fn filter(&self) -> Filter {
        self.filter
    }

    /// `conv(x) + bias`, or the ReLU of it: `x` `[batch, inputs, h, w]` of `size` `[h, w]` → `[batch, outputs, h', w']`, of [`Filter::out_size`].
    ///
    /// # Panics
    /// When `x` is no such images, they have no values, or kernels do not fit in them: a bug of the caller, never of a user.
    pub fn forward(&self, x: &[f32], size: [usize; 2]) -> Vec<f32> {
        let filter = self.filter;
        let shape = Shape { filter, size };
        let (image, pixels) = (shape.image(), shape.pixels());
        assert!(image > 0 && x.len().is_multiple_of(image), "images");
        let mut out = vec![0.0; product([x.len() / image, filter.outputs, pixels])];
        if out.is_empty() {
            return out;
        }
        let threads = rayon::current_num_threads();
        let threads = threads.div_ceil(x.len() / image);
        let bands = bands::bands(shape.out_size()[0], image, threads);
        out.par_chunks_mut(filter.outputs * pixels)
            .zip(x.par_chunks(image))
            .for_each(|(out, x)| match bands.len() {
                1 => self.convolve(&shape, x, out),
                _ => bands::convolve(self, &shape, &bands, threads, x, out),
            });
        out
    }

    /// `out` `[outputs, pixels]` ← the image `x`, convolved in this thread.
    fn convolve(&self, shape: &Shape, x: &[f32], out: &mut [f32]) {
        let pixels = shape.pixels();
        SCRATCH.with_borrow_mut(|scratch| {
            self.kernels.prepare(shape, x, scratch);
            for here in pieces(pixels, self.kernels.step(&shape.filter)) {
                self.kernels.multiply(shape, x, scratch, here.clone(), out);
                for (row, &bias) in out.chunks_mut(pixels).zip(&self.bias) {
                    match self.relu {
                        true => add_relu(&mut row[here.clone()], bias),
                        false => add(&mut row[here.clone()], bias),
                    }
                }
            }
        });
    }
}

/// What a thread gathers in.
#[derive(Default)]
struct Scratch {
    patches: Vec<f32>,
    #[cfg(target_arch = "x86_64")]
    image: split::Image,
    #[cfg(target_arch = "x86_64")]
    panels: Vec<std::arch::x86_64::__m256>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The kernels, as the processor multiplies them best.
#[derive(Debug)]
enum Kernels {
    /// `[outputs, patch]` as they are.
    Rows { values: Vec<f32>, patch: usize },
    #[cfg(target_arch = "x86_64")]
    Panels(panels::Kernels),
    #[cfg(target_arch = "x86_64")]
    Tiles(tiles::Kernels),
}

impl Kernels {
    fn new(weight: &[f32], filter: &Filter) -> Self {
        #[cfg(target_arch = "x86_64")]
        if amx::available() {
            return Self::Tiles(tiles::Kernels::new(weight, filter));
        }
        // With AVX-512 panels of its vectors would be the thing; they have not been written, and these not measured there.
        #[cfg(target_arch = "x86_64")]
        if level() == Level::Avx2 {
            return Self::Panels(panels::Kernels::new(weight, filter));
        }
        Self::rows(weight, filter)
    }

    fn rows(weight: &[f32], filter: &Filter) -> Self {
        Self::Rows {
            values: weight.to_vec(),
            patch: filter.patch(),
        }
    }

    /// Output pixels that are made at a time.
    fn step(&self, filter: &Filter) -> usize {
        match self {
            Self::Rows { patch, .. } => GATHERED / patch,
            #[cfg(target_arch = "x86_64")]
            Self::Panels(_) => panels::PIECE,
            #[cfg(target_arch = "x86_64")]
            Self::Tiles(_) => GATHERED / filter.outputs,
        }
    }

    /// Takes up an image.
    fn prepare(&self, shape: &Shape, x: &[f32], scratch: &mut Scratch) {
        match self {
            Self::Rows { .. } => {}
            #[cfg(target_arch = "x86_64")]
            Self::Panels(_) => {}
            #[cfg(target_arch = "x86_64")]
            Self::Tiles(kernels) => kernels.prepare(shape, x, &mut scratch.image),
        }
    }

    /// `out` `[outputs, pixels]` ← kernels · patches of these output pixels of the image that has been taken up.
    fn multiply(
        &self,
        shape: &Shape,
        x: &[f32],
        scratch: &mut Scratch,
        here: Range<usize>,
        out: &mut [f32],
    ) {
        match self {
            Self::Rows { values, patch } => {
                let (outputs, patch) = (shape.filter.outputs, *patch);
                let (first, count, pixels) = (here.start, here.len(), out.len() / outputs);
                let patches = if shape.filter.is_pointwise() {
                    View::strided(&x[first..], patch, count, pixels)
                } else {
                    scratch.patches.resize(patch * count, 0.0);
                    gather(shape, x, first, count, &mut scratch.patches);
                    View::new(&scratch.patches, patch, count)
                };
                let kernels = View::new(values, outputs, patch);
                let alone = Parallelism::None;
                let out = &mut out[first..];
                matmul(out, pixels, Store::Set, 1.0, kernels, patches, alone);
            }
            #[cfg(target_arch = "x86_64")]
            Self::Panels(kernels) => {
                kernels.multiply(shape, x, &mut scratch.panels, here, out);
            }
            #[cfg(target_arch = "x86_64")]
            Self::Tiles(kernels) => kernels.multiply(shape, x, &scratch.image, here, out),
        }
    }
}

/// Pixels, about `step` at a time.
fn pieces(pixels: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    let step = step.next_multiple_of(32).max(32);
    (0..pixels)
        .step_by(step)
        .map(move |first| first..pixels.min(first + step))
}

vectorised! {
    /// `row ← row + bias`.
    fn add(row: &mut [f32], bias: f32) {
        for value in row {
            *value += bias;
        }
    }
}

vectorised! {
    /// `row ← max(row + bias, 0)`.
    fn add_relu(row: &mut [f32], bias: f32) {
        for value in row {
            let sum = *value + bias;
            // This way round, so that what is no number stays none.
            *value = if sum < 0.0 { 0.0 } else { sum };
        }
    }
}

#[cfg(test)]
mod tests;
