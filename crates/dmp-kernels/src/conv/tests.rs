//! Against the definition in f64.

use proptest::prelude::*;

use super::*;

/// Each output without ReLU in f64, and the sum of what it was added up of, signs aside.
fn reference(shape: &Shape, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<(f64, f64)> {
    let ([height, width], [rows, columns]) = (shape.size, shape.out_size());
    let filter = &shape.filter;
    let mut out = Vec::new();
    for image in x.chunks(shape.image()) {
        for (kernel, &bias) in weight.chunks(filter.patch()).zip(bias) {
            for at in 0..rows * columns {
                let (mut sum, mut size) = (f64::from(bias), f64::from(bias.abs()));
                for (tap, &w) in kernel.iter().enumerate() {
                    let [kh, kw] = filter.kernel;
                    let (channel, dy, dx) = (tap / (kh * kw), tap / kw % kh, tap % kw);
                    let y = (at / columns * filter.stride + dy).checked_sub(filter.padding[0]);
                    let x = (at % columns * filter.stride + dx).checked_sub(filter.padding[1]);
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
                out.push((sum, size));
            }
        }
    }
    out
}

/// In every way that this processor can do it, the first the best.
fn each(shape: &Shape, x: &[f32], weight: &[f32], bias: &[f32], relu: bool) -> Vec<Vec<f32>> {
    let filter = shape.filter;
    let with = |kernels| Conv {
        filter,
        kernels,
        bias: bias.to_vec(),
        relu,
    };
    let ways = [
        Some(Conv::new(filter, weight, bias, relu)),
        Some(with(Kernels::rows(weight, &filter))),
        panels_of(weight, &filter).map(with),
    ];
    let mut found = Vec::new();
    for conv in ways.iter().flatten() {
        found.push(conv.forward(x, shape.size));
        found.push(in_bands(conv, shape, x));
    }
    found
}

/// Bands of three rows, whatever is worth it.
fn in_bands(conv: &Conv, shape: &Shape, x: &[f32]) -> Vec<f32> {
    let rows = shape.out_size()[0];
    let bands: Vec<_> = (0..rows)
        .step_by(3)
        .map(|first| first..rows.min(first + 3))
        .collect();
    let size = shape.filter.outputs * shape.pixels();
    let mut out = vec![0.0; x.len() / shape.image() * size];
    if size > 0 {
        for (out, x) in out.chunks_mut(size).zip(x.chunks(shape.image())) {
            bands::convolve(conv, shape, &bands, 2, x, out);
        }
    }
    out
}

/// What vectors of eight are multiplied with, where there are such.
#[cfg(target_arch = "x86_64")]
fn panels_of(weight: &[f32], filter: &Filter) -> Option<Kernels> {
    (level() != Level::Portable).then(|| Kernels::Panels(panels::Kernels::new(weight, filter)))
}

#[cfg(not(target_arch = "x86_64"))]
fn panels_of(_: &[f32], _: &Filter) -> Option<Kernels> {
    None
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
fn drawn(shape: &Shape, batch: usize, seed: u32) -> [Vec<f32>; 3] {
    let Shape { filter, .. } = shape;
    [
        batch * shape.image(),
        filter.outputs * filter.patch(),
        filter.outputs,
    ]
    .map(|count| values(seed.wrapping_add(count as u32), count))
}

/// As exact as sums of so many products in f32 are.
fn check(shape: &Shape, batch: usize, seed: u32) {
    let [x, weight, bias] = drawn(shape, batch, seed);
    let expected = reference(shape, &x, &weight, &bias);
    let ways = [false, true].map(|relu| each(shape, &x, &weight, &bias, relu));
    for (relu, found) in [false, true]
        .into_iter()
        .zip(ways)
        .flat_map(|(relu, ways)| ways.into_iter().map(move |found| (relu, found)))
    {
        assert_eq!(found.len(), expected.len());
        for (&found, &(wanted, size)) in found.iter().zip(&expected) {
            let wanted = if relu { wanted.max(0.0) } else { wanted };
            let off = (f64::from(found) - wanted).abs();
            let terms = (shape.filter.patch() as f64).sqrt();
            let bound = size * (4.0 + 2.0 * terms) * f64::exp2(-24.0);
            assert!(off <= bound, "{found}, not {wanted}: {off} of {size}");
        }
    }
}

proptest! {
    #[test]
    fn is_the_definition(
        batch in 0usize..3,
        inputs in 1usize..4,
        outputs in 0usize..15,
        size in [1usize..20, 1usize..40],
        kernel in [1usize..8, 1usize..8],
        stride in prop_oneof![4 => 1usize..4, 1 => Just(17), 1 => Just(40)],
        above in prop_oneof![4 => 0usize..4, 1 => 4usize..15],
        beside in 0usize..4,
        seed: u32,
    ) {
        let padding = [above, beside];
        let kernel = std::array::from_fn(|i| kernel[i].min(size[i] + 2 * padding[i]));
        let filter = Filter { inputs, outputs, kernel, stride, padding };
        check(&Shape { filter, size }, batch, seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Patches of more values than are summed at a time.
    #[test]
    fn is_the_definition_of_deep_patches(
        inputs in 200usize..600,
        outputs in 1usize..8,
        size in [1usize..5, 1usize..8],
        kernel in [1usize..4, 1usize..4],
        stride in 1usize..3,
        padding in [0usize..3, 0usize..3],
        seed: u32,
    ) {
        let kernel = std::array::from_fn(|i| kernel[i].min(size[i] + 2 * padding[i]));
        let filter = Filter { inputs, outputs, kernel, stride, padding };
        check(&Shape { filter, size }, 1, seed);
    }
}

#[test]
fn bands_have_each_row_once() {
    for (rows, values, threads, heights) in [
        (40, 1, 1, vec![40]),
        (40, 1, 2, vec![20, 20]),
        (41, 1, 4, vec![11, 11, 11, 8]),
        // Not worth more of them.
        (25, 1, 16, vec![9, 9, 7]),
        (9, 1, 2, vec![9]),
        (7, 1, 16, vec![7]),
        // Too large for fewer, and low as they come.
        (7, 3 << 22, 1, vec![3, 3, 1]),
        (2, 9 << 22, 4, vec![1, 1]),
    ] {
        let bands = bands::bands(rows, values, threads);
        assert!(bands.iter().map(|band| band.len()).eq(heights));
        assert!(bands.iter().cloned().flatten().eq(0..rows));
    }
}

/// Sizes are the images', not the kernels'.
#[test]
fn one_takes_images_of_any_size() {
    let filter = shape(5, 7, [3, 2], [1, 0], [1, 2]).filter;
    let weight = values(1, filter.outputs * filter.patch());
    let conv = Conv::new(filter, &weight, &[0.5; 7], true);
    for size in [[9, 40], [1, 2], [30, 3], [9, 40]] {
        let shape = Shape { filter, size };
        let x = values(2, 2 * shape.image());
        let fresh = Conv::new(filter, &weight, &[0.5; 7], true).forward(&x, size);
        assert_eq!(conv.forward(&x, size), fresh);
        assert_eq!(fresh.len(), 2 * 7 * shape.pixels());
    }
}

fn shape(
    inputs: usize,
    outputs: usize,
    kernel: [usize; 2],
    padding: [usize; 2],
    size: [usize; 2],
) -> Shape {
    let filter = Filter {
        inputs,
        outputs,
        kernel,
        stride: 1,
        padding,
    };
    Shape { filter, size }
}

/// More output pixels than are made at a time, more kernels and longer patches than a block has.
#[test]
fn large_images_are_taken_in_pieces() {
    let mut shape = shape(20, 40, [3, 3], [1, 1], [64, 57]);
    let pixels = 64 * 57;
    assert!(pixels > (GATHERED / shape.filter.outputs).next_multiple_of(32));
    assert!(pixels > GATHERED / shape.filter.patch());
    check(&shape, 1, 1);
    // Windows that are pixels, and then an image where a larger one has been.
    (shape.filter.kernel, shape.filter.padding) = ([1, 1], [0, 0]);
    check(&shape, 1, 2);
    (shape.filter.kernel, shape.size) = ([2, 3], [9, 8]);
    check(&shape, 1, 3);
    // Rows that nothing is between, of more values than are summed at a time.
    let tall = Filter {
        inputs: 200,
        kernel: [5, 1],
        padding: [2, 0],
        ..shape.filter
    };
    shape.filter = tall;
    check(&shape, 1, 4);
    (shape.filter.kernel, shape.filter.stride) = ([3, 3], 2);
    shape.size = [19, 21];
    check(&shape, 1, 5);
}

#[test]
fn what_is_no_number_stays_none() {
    let mut strided = shape(3, 2, [3, 3], [1, 1], [6, 5]);
    strided.filter.stride = 2;
    // In the middle of the second channel and in a corner: so many windows see it.
    for (shape, windows) in [
        (shape(3, 2, [3, 3], [0, 0], [6, 5]), [9, 1]),
        (shape(3, 2, [3, 3], [1, 1], [6, 5]), [9, 4]),
        (shape(3, 2, [3, 1], [1, 0], [6, 5]), [3, 2]),
        (strided, [1, 1]),
    ] {
        let [mut x, weight, bias] = drawn(&shape, 1, 4);
        let pixels = shape.pixels();
        for (at, windows) in [[2, 2], [0, 0]].into_iter().zip(windows) {
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
                for found in each(&shape, &x, &weight, &bias, true) {
                    for kernel in found.chunks(pixels) {
                        let none = kernel.iter().filter(|value| !value.is_finite()).count();
                        assert!((least..=windows).contains(&none), "{bits:x}: {none}");
                    }
                }
                x[place] = before;
            }
        }
    }
}

#[test]
#[should_panic(expected = "larger than any memory")]
fn sizes_do_not_wrap_round() {
    let filter = shape(1, 1, [1, 3], [0, 1], [1, 1]).filter;
    // Rows of five that come to four values where the count wraps round.
    let rows = usize::MAX / 5 + 1;
    assert_eq!(rows.wrapping_mul(5), 4);
    Conv::new(filter, &[0.0; 3], &[0.0], true).forward(&[0.0; 4], [rows, 5]);
}

#[test]
#[should_panic(expected = "larger than the padded image")]
fn kernels_fit_in_images() {
    let shape = shape(1, 1, [3, 3], [0, 0], [1, 1]);
    Conv::new(shape.filter, &[0.0; 9], &[0.0], true).forward(&[0.0], shape.size);
}
