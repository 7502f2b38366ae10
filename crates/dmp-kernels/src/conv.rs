//! Convolution with bias and ReLU, forward only: what a feature network of photographs spends its time on.
//!
//! Output pixels are taken a few at a time: their patches are gathered side by side and multiplied with the kernels
//! while both are in cache.

#[cfg(target_arch = "x86_64")]
use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use crate::amx::{self, Line, SIDE};
use crate::matmul::{Store, View, matmul};
use crate::vectorised;

/// Values of gathered patches held at a time: half a megabyte, well inside a core's second-level cache.
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
    pub fn out_size(&self) -> [usize; 2] {
        std::array::from_fn(|i| {
            (self.size[i] + 2 * self.padding[i] - self.kernel[i]) / self.stride + 1
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
/// When a slice does not have the size that `shape` says: a bug of the caller, never of a user.
pub fn conv_relu(shape: &ConvShape, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
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
        .for_each_init(Vec::new, |gathered, (out, x)| {
            let chunk = (GATHERED / shape.patch()).clamp(32, pixels.max(32));
            for first in (0..pixels).step_by(chunk) {
                let count = chunk.min(pixels - first);
                let patches = if shape.is_pointwise() {
                    Patches {
                        values: &x[first..],
                        count,
                        stride: pixels,
                    }
                } else {
                    gathered.resize(shape.patch() * count, 0.0);
                    gather(shape, x, first, count, gathered);
                    Patches {
                        values: gathered,
                        count,
                        stride: count,
                    }
                };
                kernels.multiply(&patches, &mut out[first..], pixels);
                for (row, &bias) in out.chunks_mut(pixels).zip(bias) {
                    add_relu(&mut row[first..first + count], bias);
                }
            }
        });
    out
}

/// Patches of `count` output pixels, as columns: a row for each value of a patch, `stride` apart.
struct Patches<'a> {
    values: &'a [f32],
    count: usize,
    stride: usize,
}

/// The kernels, as the processor multiplies them best.
enum Kernels<'a> {
    Rows(View<'a>),
    #[cfg(target_arch = "x86_64")]
    Tiles(amx::Left<3>),
}

impl<'a> Kernels<'a> {
    fn new(weight: &'a [f32], shape: &ConvShape) -> Self {
        #[cfg(target_arch = "x86_64")]
        if amx::available() {
            return Self::Tiles(amx::Left::pack(weight, shape.patch()));
        }
        Self::Rows(View::new(weight, shape.outputs, shape.patch()))
    }

    /// `out` ← kernels · patches, a row for each kernel, `pixels` apart.
    fn multiply(&self, patches: &Patches<'_>, out: &mut [f32], pixels: usize) {
        match self {
            Self::Rows(kernels) => {
                let Patches {
                    values,
                    count,
                    stride,
                } = *patches;
                let patches = View::strided(values, kernels.columns(), count, stride);
                matmul(
                    out,
                    pixels,
                    Store::Set,
                    1.0,
                    *kernels,
                    patches,
                    Parallelism::None,
                );
            }
            #[cfg(target_arch = "x86_64")]
            Self::Tiles(kernels) => {
                TILES.time(1, || kernels.product(patches, patches.count, out, pixels));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
static TILES: crate::profile::Kernel = crate::profile::Kernel::new("gemm f32, convolution");

#[cfg(target_arch = "x86_64")]
impl amx::Right<3> for Patches<'_> {
    fn tiles<'a>(
        &'a self,
        first: usize,
        deep: Range<usize>,
        scratch: &'a mut [Line],
    ) -> &'a [Line] {
        let values = &self.values[deep.start * self.stride + first..];
        let count = SIDE.min(self.count - first);
        // SAFETY: the product has seen that the processor has the instructions.
        unsafe { amx::columns::<3>(values, self.stride, count, deep.len(), scratch) };
        scratch
    }
}

/// Patches of output pixels `first` on, as columns: `[inputs·kh·kw, count]`.
fn gather(shape: &ConvShape, x: &[f32], first: usize, count: usize, out: &mut [f32]) {
    let ([height, width], [_, columns]) = (shape.size, shape.out_size());
    let [kernel_rows, kernel_columns] = shape.kernel;
    let taps = (0..kernel_rows).flat_map(|y| (0..kernel_columns).map(move |x| (y, x)));
    let mut rows = out.chunks_exact_mut(count);
    for channel in x.chunks_exact(height * width) {
        for ((down, right), row) in taps.clone().zip(&mut rows) {
            let mut pixel = first;
            let mut rest = row;
            // A run of pixels of one output row at a time.
            while !rest.is_empty() {
                let (y, from) = (pixel / columns, pixel % columns);
                let run = (columns - from).min(rest.len());
                let (head, tail) = rest.split_at_mut(run);
                let source = (y * shape.stride + down).checked_sub(shape.padding[0]);
                match source.filter(|&y| y < height) {
                    Some(y) => {
                        let line = &channel[y * width..(y + 1) * width];
                        copy_line(line, head, from, right, shape.stride, shape.padding[1]);
                    }
                    None => head.fill(0.0),
                }
                rest = tail;
                pixel += run;
            }
        }
    }
}

/// `out[i] = line[(from + i)·stride + right − padding]`, 0 outside.
fn copy_line(
    line: &[f32],
    out: &mut [f32],
    from: usize,
    right: usize,
    stride: usize,
    padding: usize,
) {
    let start = from * stride + right;
    // The pixels that are inside, and the first one's place.
    let before = padding.saturating_sub(start).div_ceil(stride);
    let inside = (padding + line.len())
        .saturating_sub(start)
        .div_ceil(stride);
    let (head, out) = out.split_at_mut(before.min(out.len()));
    let (middle, tail) = out.split_at_mut(inside.saturating_sub(before).min(out.len()));
    head.fill(0.0);
    tail.fill(0.0);
    if middle.is_empty() {
        return;
    }
    let line = &line[start + before * stride - padding..];
    match stride {
        1 => middle.copy_from_slice(&line[..middle.len()]),
        _ => middle
            .iter_mut()
            .zip(line.iter().step_by(stride))
            .for_each(|(out, &value)| *out = value),
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, in f64.
    fn reference(shape: &ConvShape, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f64> {
        let ([height, width], [rows, columns]) = (shape.size, shape.out_size());
        let mut out = Vec::with_capacity(shape.out_len());
        for image in x.chunks(shape.inputs * height * width) {
            for (kernel, &bias) in weight.chunks(shape.patch()).zip(bias) {
                for at in 0..rows * columns {
                    let mut sum = f64::from(bias);
                    for (tap, &w) in kernel.iter().enumerate() {
                        let [kh, kw] = shape.kernel;
                        let (channel, dy, dx) = (tap / (kh * kw), tap / kw % kh, tap % kw);
                        let y = (at / columns * shape.stride + dy).checked_sub(shape.padding[0]);
                        let x = (at % columns * shape.stride + dx).checked_sub(shape.padding[1]);
                        if let (Some(y), Some(x)) = (y, x)
                            && y < height
                            && x < width
                        {
                            let value = image[(channel * height + y) * width + x];
                            sum += f64::from(value) * f64::from(w);
                        }
                    }
                    out.push(sum.max(0.0));
                }
            }
        }
        out
    }

    /// As this processor does it best, and as any does.
    fn both(shape: &ConvShape, x: &[f32], weight: &[f32], bias: &[f32]) -> [Vec<f32>; 2] {
        let rows = View::new(weight, shape.outputs, shape.patch());
        [
            conv_relu(shape, x, weight, bias),
            convolve(shape, x, &Kernels::Rows(rows), bias),
        ]
    }

    proptest! {
        #[test]
        fn is_the_definition(
            batch in 0usize..3,
            inputs in 1usize..4,
            outputs in 1usize..5,
            size in [7usize..20, 7usize..20],
            kernel in [1usize..8, 1usize..8],
            stride in 1usize..3,
            padding in [0usize..4, 0usize..4],
        ) {
            let shape = ConvShape { batch, inputs, outputs, size, kernel, stride, padding };
            let numbers = |count: usize, step: usize| -> Vec<f32> {
                (0..count).map(|i| (i * step % 23) as f32 / 11.0 - 1.0).collect()
            };
            let x = numbers(batch * inputs * size[0] * size[1], 7);
            let weight = numbers(outputs * shape.patch(), 5);
            let bias = numbers(outputs, 3);
            let expected = reference(&shape, &x, &weight, &bias);
            for found in both(&shape, &x, &weight, &bias) {
                prop_assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    prop_assert!((f64::from(*found) - expected).abs() < 1e-4, "{} {}", found, expected);
                }
            }
        }
    }

    /// More output pixels than fit in one gathering, more kernels and longer patches than a block has.
    #[test]
    fn large_images_are_gathered_in_pieces() {
        let shape = ConvShape {
            batch: 1,
            inputs: 20,
            outputs: 40,
            size: [34, 31],
            kernel: [3, 3],
            stride: 1,
            padding: [1, 1],
        };
        assert!(shape.patch() * 34 * 31 > GATHERED);
        let numbers = |count: usize, step: usize| -> Vec<f32> {
            (0..count)
                .map(|i| (i * step % 23) as f32 / 11.0 - 1.0)
                .collect()
        };
        let (x, weight) = (numbers(20 * 34 * 31, 7), numbers(40 * shape.patch(), 5));
        let bias = numbers(40, 3);
        let expected = reference(&shape, &x, &weight, &bias);
        for found in both(&shape, &x, &weight, &bias) {
            for (found, expected) in found.iter().zip(&expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-4);
            }
        }
    }
}
