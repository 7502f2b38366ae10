//! Convolution with bias and ReLU, forward only: what a feature network of photographs spends its time on.
//!
//! Output pixels are taken a few at a time: their patches are gathered side by side (as numbers, or on Intel's matrix unit as tiles of it)
//! and multiplied with the kernels while both are in cache.

mod gather;
#[cfg(target_arch = "x86_64")]
mod split;
#[cfg(target_arch = "x86_64")]
mod tiles;

use std::cell::RefCell;
use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use crate::amx;
use crate::matmul::{Store, View, matmul};
use crate::vectorised;
use gather::gather;

/// Values of gathered patches, or of the product, held at a time: half a megabyte, well inside a core's second-level cache.
const GATHERED: usize = 1 << 17;

/// Sizes of a convolution over `[batch, inputs, height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Images.
    pub batch: usize,
    /// Channels that come in.
    pub inputs: usize,
    /// Channels that go out.
    pub outputs: usize,
    /// Rows and columns of the images.
    pub size: [usize; 2],
    /// Rows and columns of the kernels.
    pub kernel: [usize; 2],
    /// Step of the kernels in both directions.
    pub stride: usize,
    /// Zeros around the images: above and below, left and right.
    pub padding: [usize; 2],
}

impl ConvShape {
    /// Rows and columns that go out.
    ///
    /// # Panics
    /// When a kernel is larger than an image and its padding, or nothing, or the stride is: a bug of the caller, never of a user.
    pub fn out_size(&self) -> [usize; 2] {
        assert!(self.stride > 0 && !self.kernel.contains(&0), "no kernels");
        std::array::from_fn(|i| {
            let padded = self.size[i] + 2 * self.padding[i];
            let room = padded.checked_sub(self.kernel[i]);
            room.expect("a kernel larger than the padded image") / self.stride + 1
        })
    }

    /// Values that go out.
    pub fn out_len(&self) -> usize {
        let [rows, columns] = self.out_size();
        self.batch * self.outputs * rows * columns
    }

    /// Values of a patch, `inputs · kernel`.
    fn patch(&self) -> usize {
        self.inputs * self.kernel[0] * self.kernel[1]
    }

    /// Whether a patch is a pixel, so that nothing needs to be gathered.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == 1 && self.padding == [0, 0]
    }
}

/// `relu(conv(x) + bias)`: `x` `[batch, inputs, h, w]`, `weight` `[outputs, inputs, kh, kw]`, `bias` `[outputs]` →
/// `[batch, outputs, h', w']`.
///
/// # Panics
/// When a slice does not have the size that `shape` says, images have no values, or kernels do not fit in them: a bug of the caller,
/// never of a user.
pub fn conv_relu(shape: &ConvShape, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    assert!(shape.inputs > 0 && !shape.size.contains(&0), "empty images");
    assert_eq!(weight.len(), shape.outputs * shape.patch(), "weight");
    convolve(shape, x, &Kernels::new(weight, shape), bias)
}

fn convolve(shape: &ConvShape, x: &[f32], kernels: &Kernels<'_>, bias: &[f32]) -> Vec<f32> {
    let [height, width] = shape.size;
    let pixels = shape.out_size().iter().product::<usize>();
    let image = shape.inputs * height * width;
    assert_eq!(x.len(), shape.batch * image, "input");
    assert_eq!(bias.len(), shape.outputs, "bias");
    let mut out = vec![0.0; shape.out_len()];
    if out.is_empty() {
        return out;
    }
    out.par_chunks_mut(shape.outputs * pixels)
        .zip(x.par_chunks(image))
        .for_each(|(out, x)| {
            SCRATCH.with_borrow_mut(|scratch| {
                kernels.prepare(shape, x, scratch);
                for here in pieces(pixels, kernels.step(shape)) {
                    kernels.multiply(shape, x, scratch, here.clone(), out);
                    for (row, &bias) in out.chunks_mut(pixels).zip(bias) {
                        add_relu(&mut row[here.clone()], bias);
                    }
                }
            });
        });
    out
}

/// What a thread gathers in.
#[derive(Default)]
struct Scratch {
    patches: Vec<f32>,
    #[cfg(target_arch = "x86_64")]
    image: split::Image,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The kernels, as the processor multiplies them best.
enum Kernels<'a> {
    Rows(View<'a>),
    #[cfg(target_arch = "x86_64")]
    Tiles(tiles::Kernels),
}

impl<'a> Kernels<'a> {
    fn new(weight: &'a [f32], shape: &ConvShape) -> Self {
        #[cfg(target_arch = "x86_64")]
        if amx::available() {
            return Self::Tiles(tiles::Kernels::new(weight, shape));
        }
        Self::Rows(View::new(weight, shape.outputs, shape.patch()))
    }

    /// Output pixels that are made at a time.
    fn step(&self, shape: &ConvShape) -> usize {
        match self {
            Self::Rows(_) => GATHERED / shape.patch(),
            #[cfg(target_arch = "x86_64")]
            Self::Tiles(_) => GATHERED / shape.outputs,
        }
    }

    /// Takes up an image.
    fn prepare(&self, shape: &ConvShape, x: &[f32], scratch: &mut Scratch) {
        match self {
            Self::Rows(_) => {}
            #[cfg(target_arch = "x86_64")]
            Self::Tiles(kernels) => kernels.prepare(shape, x, &mut scratch.image),
        }
    }

    /// `out` `[outputs, pixels]` ← kernels · patches of these output pixels of the image that has been taken up.
    fn multiply(
        &self,
        shape: &ConvShape,
        x: &[f32],
        scratch: &mut Scratch,
        here: Range<usize>,
        out: &mut [f32],
    ) {
        match self {
            Self::Rows(kernels) => {
                let (first, count, pixels) = (here.start, here.len(), out.len() / shape.outputs);
                let patches = if shape.is_pointwise() {
                    View::strided(&x[first..], shape.patch(), count, pixels)
                } else {
                    scratch.patches.resize(shape.patch() * count, 0.0);
                    gather(shape, x, first, count, &mut scratch.patches);
                    View::new(&scratch.patches, shape.patch(), count)
                };
                let alone = Parallelism::None;
                let out = &mut out[first..];
                matmul(out, pixels, Store::Set, 1.0, *kernels, patches, alone);
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
