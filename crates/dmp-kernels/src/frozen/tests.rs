//! Products in both directions against sums in f64.

use gemm::Parallelism;
use proptest::prelude::*;

use super::bf16::round;
use super::*;

/// Values of both signs that no bf16 holds exactly.
pub(super) fn values(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// In f64, of the factors as they are `seen`.
pub(super) fn expected(
    a: &[f32],
    weight: impl Fn(usize, usize) -> f32,
    [rows, inner, columns]: [usize; 3],
    seen: impl Fn(f32) -> f64,
) -> Vec<f64> {
    let element = |r: usize, c: usize| {
        (0..inner)
            .map(|k| seen(a[r * inner + k]) * seen(weight(k, c)))
            .sum()
    };
    (0..rows)
        .flat_map(|r| (0..columns).map(move |c| (r, c)))
        .map(|(r, c)| element(r, c))
        .collect()
}

pub(super) fn close(got: &[f32], want: &[f64], inner: usize) -> Result<(), TestCaseError> {
    prop_assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        // f32 sums of so many products of magnitude one or less.
        prop_assert!(
            (f64::from(*got) - want).abs() < 1e-6 * inner as f64,
            "{} and {}",
            got,
            want
        );
    }
    Ok(())
}

/// A factor as it is.
pub(super) fn exact(x: f32) -> f64 {
    f64::from(x)
}

/// A factor rounded to bf16.
pub(super) fn rounded(x: f32) -> f64 {
    f64::from(f32::from_bits(u32::from(round(x)) << 16))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn both_directions_are_the_product(rows in 1usize..20, inputs in 1usize..300, outputs in 1usize..300, seed: u32) {
        let weight = values(seed, inputs * outputs);
        for precision in [Precision::F32, Precision::Bf16] {
            let seen = match precision {
                Precision::F32 => exact,
                Precision::Bf16 => rounded,
            };
        let frozen = FrozenWeight::new(&weight, inputs, outputs, precision);
        prop_assert_eq!(frozen.shape(), [inputs, outputs]);
        for threads in [Parallelism::None, Parallelism::Rayon(3)] {
            let input = values(seed ^ 1, rows * inputs);
            let mut out = vec![f32::NAN; rows * outputs];
            frozen.forward(&input, &mut out, threads);
            let want = expected(&input, |i, o| weight[i * outputs + o], [rows, inputs, outputs], seen);
            close(&out, &want, inputs)?;

            let gradient = values(seed ^ 2, rows * outputs);
            let mut out = vec![f32::NAN; rows * inputs];
            frozen.backward(&gradient, &mut out, threads);
            let want = expected(&gradient, |o, i| weight[i * outputs + o], [rows, outputs, inputs], seen);
            close(&out, &want, outputs)?;
        }
        }
    }
}

/// What [`both_directions_are_the_product`] seldom draws.
#[test]
fn large_weights_are_fixed_point_numbers_where_the_processor_multiplies_bytes() {
    let (rows, inputs, outputs) = (17, 290, 260);
    let weight = values(7, inputs * outputs);
    let frozen = FrozenWeight::new(&weight, inputs, outputs, Precision::F32);
    #[cfg(target_arch = "x86_64")]
    assert_eq!(
        matches!(frozen.form, Form::Fixed(_)),
        crate::amx::fixed::available()
    );
    let input = values(8, rows * inputs);
    let mut out = vec![f32::NAN; rows * outputs];
    frozen.forward(&input, &mut out, Parallelism::Rayon(3));
    let shape = [rows, inputs, outputs];
    let want = expected(&input, |i, o| weight[i * outputs + o], shape, exact);
    close(&out, &want, inputs).unwrap();

    let gradient = values(9, rows * outputs);
    let mut out = vec![f32::NAN; rows * inputs];
    frozen.backward(&gradient, &mut out, Parallelism::Rayon(3));
    let shape = [rows, outputs, inputs];
    let want = expected(&gradient, |o, i| weight[i * outputs + o], shape, exact);
    close(&out, &want, outputs).unwrap();
}

#[test]
fn a_row_is_the_same_alone_and_among_others() {
    let (rows, inputs) = (17, 300);
    for (outputs, precision) in [
        (130, Precision::F32),
        (270, Precision::F32),
        (130, Precision::Bf16),
    ] {
        let weight = values(5, inputs * outputs);
        let input = values(6, rows * inputs);
        let frozen = FrozenWeight::new(&weight, inputs, outputs, precision);
        if matches!(frozen.form, Form::Rows(_)) {
            continue;
        }
        let mut all = vec![f32::NAN; rows * outputs];
        frozen.forward(&input, &mut all, Parallelism::None);
        for (row, expected) in input.chunks(inputs).zip(all.chunks(outputs)) {
            let mut alone = vec![f32::NAN; outputs];
            frozen.forward(row, &mut alone, Parallelism::None);
            assert_eq!(alone, expected, "{outputs}, {precision:?}");
        }
    }
}
