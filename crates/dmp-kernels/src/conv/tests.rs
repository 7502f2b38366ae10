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
        stride in 1usize..4,
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
