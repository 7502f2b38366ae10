//! Against the definition in f64.

use proptest::prelude::*;

use super::*;

/// Each output in f64, and the sum of what it was added up of, signs aside.
fn reference(shape: &ConvShape, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<(f64, f64)> {
    let ([height, width], [rows, columns]) = (shape.size, shape.out_size());
    let mut out = Vec::with_capacity(shape.out_len());
    for image in x.chunks(shape.inputs * height * width) {
        for (kernel, &bias) in weight.chunks(shape.patch()).zip(bias) {
            for at in 0..rows * columns {
                let (mut sum, mut size) = (f64::from(bias), f64::from(bias.abs()));
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
                        let product = f64::from(value) * f64::from(w);
                        sum += product;
                        size += product.abs();
                    }
                }
                out.push((sum.max(0.0), size));
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

/// Values of both signs, all bits of them in use.
fn values(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Images, kernels and biases.
fn drawn(shape: &ConvShape, seed: u32) -> [Vec<f32>; 3] {
    let image = shape.inputs * shape.size[0] * shape.size[1];
    [
        shape.batch * image,
        shape.outputs * shape.patch(),
        shape.outputs,
    ]
    .map(|count| values(seed.wrapping_add(count as u32), count))
}

/// As exact as sums of so many products in f32 are.
fn check(shape: &ConvShape, seed: u32) {
    let [x, weight, bias] = drawn(shape, seed);
    let expected = reference(shape, &x, &weight, &bias);
    for found in both(shape, &x, &weight, &bias) {
        assert_eq!(found.len(), expected.len());
        for (&found, &(wanted, size)) in found.iter().zip(&expected) {
            let off = (f64::from(found) - wanted).abs();
            let bound = size * (4.0 + 2.0 * (shape.patch() as f64).sqrt()) * f64::exp2(-24.0);
            assert!(off <= bound, "{found}, not {wanted}: {off} of {size}");
        }
    }
}

proptest! {
    #[test]
    fn is_the_definition(
        batch in 0usize..3,
        inputs in 1usize..4,
        outputs in 1usize..5,
        size in [7usize..20, 7usize..40],
        kernel in [1usize..8, 1usize..8],
        stride in prop_oneof![4 => 1usize..4, 1 => Just(17), 1 => Just(40)],
        padding in [0usize..4, 0usize..4],
        seed: u32,
    ) {
        check(&ConvShape { batch, inputs, outputs, size, kernel, stride, padding }, seed);
    }
}

/// More output pixels than are made at a time, more kernels and longer patches than a block has.
#[test]
fn large_images_are_taken_in_pieces() {
    let mut shape = ConvShape {
        batch: 1,
        inputs: 20,
        outputs: 40,
        size: [64, 57],
        kernel: [3, 3],
        stride: 1,
        padding: [1, 1],
    };
    let pixels = 64 * 57;
    assert!(pixels > (GATHERED / shape.outputs).next_multiple_of(32));
    assert!(pixels > GATHERED / shape.patch());
    check(&shape, 1);
    // Windows that are pixels, and then an image where a larger one has been.
    (shape.kernel, shape.padding) = ([1, 1], [0, 0]);
    check(&shape, 2);
    (shape.kernel, shape.size) = ([2, 3], [9, 8]);
    check(&shape, 3);
}

#[test]
fn what_is_no_number_stays_none() {
    let shape = ConvShape {
        batch: 1,
        inputs: 3,
        outputs: 2,
        size: [6, 5],
        kernel: [3, 3],
        stride: 1,
        padding: [0, 0],
    };
    let [mut x, weight, bias] = drawn(&shape, 4);
    // In the middle of the second channel, where nine windows see it, and in a corner, where one does.
    for (at, windows) in [([2, 2], 9), ([0, 0], 1)] {
        for bits in [
            0x7fff_ffff,
            0xffff_ffff,
            0x7f80_0001,
            0x7fc0_0000,
            0x7f80_0000,
        ] {
            let place = (6 + at[0]) * 5 + at[1];
            let before = std::mem::replace(&mut x[place], f32::from_bits(bits));
            // Infinity times a negative value is cut off.
            let least = if bits == 0x7f80_0000 { 0 } else { windows };
            for found in both(&shape, &x, &weight, &bias) {
                for kernel in found.chunks(12) {
                    let none = kernel.iter().filter(|value| !value.is_finite()).count();
                    assert!((least..=windows).contains(&none), "{bits:x}: {none}");
                }
            }
            x[place] = before;
        }
    }
}

#[test]
#[should_panic(expected = "larger than the padded image")]
fn kernels_fit_in_images() {
    let shape = ConvShape {
        batch: 1,
        inputs: 1,
        outputs: 1,
        size: [1, 1],
        kernel: [3, 3],
        stride: 1,
        padding: [0, 0],
    };
    conv_relu(&shape, &[0.0], &[0.0; 9], &[0.0]);
}
