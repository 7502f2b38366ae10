//! Against sums in f64.

use proptest::prelude::*;

use super::super::tests::values;
use super::*;

/// `[rows, inner]` by `[inner, columns]`.
fn check([count, inner, columns]: [usize; 3], seed: u32) {
    let (a, b) = (
        values(seed, count * inner),
        values(seed ^ 1, inner * columns),
    );
    let packed = Packed::new([inner, columns], |row, column| b[row * columns + column]);
    let mut out = vec![f32::NAN; count * columns];
    packed.product(&a, &mut out);
    for (a, out) in a.chunks(inner).zip(out.chunks(columns)) {
        for (column, &sum) in out.iter().enumerate() {
            let b = || b[column..].iter().step_by(columns);
            let products = a
                .iter()
                .zip(b())
                .map(|(&a, &b)| f64::from(a) * f64::from(b));
            let size: f64 = products.clone().map(f64::abs).sum();
            // What a value has beyond 2⁻²³ of the largest of its depth, times what it is multiplied with.
            let lost: f64 = depths(inner)
                .map(|deep| {
                    let largest = |values: &mut dyn Iterator<Item = &f32>| {
                        values.fold(0.0, |most: f64, x| most.max(f64::from(x.abs())))
                    };
                    let here = || b().skip(deep.start).take(deep.len());
                    let [of_a, of_b] = [largest(&mut a[deep.clone()].iter()), largest(&mut here())];
                    let one = |x: &f32, most: f64| f64::from(x.abs()) * most;
                    let all: f64 = (a[deep.clone()].iter().map(|x| one(x, of_b)))
                        .chain(here().map(|x| one(x, of_a)))
                        .sum();
                    all * f64::exp2(-23.0)
                })
                .sum();
            let off = (f64::from(sum) - products.sum::<f64>()).abs();
            let bound = lost + size * f64::exp2(-21.0);
            assert!(off <= bound, "{sum} is off by {off}, more than {bound}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn products_are_products(count in 0_usize..40, inner in 1_usize..200, columns in 1_usize..70, seed: u32) {
        if available() {
            check([count, inner, columns], seed);
        }
    }
}

#[test]
fn many_rows_and_depths() {
    if available() {
        check([ROWS + 5, 2 * DEPTH + 70, 37], 3);
    }
}

/// Squared errors of 40 × 768 by 768 × 48 values that are sums of twelve: ours, and those of plain sums in f32. One column of the left
/// factor is so many times the others.
fn errors(outlier: f32) -> [f64; 2] {
    let (count, inner, columns) = (40, 768, 48);
    let like = |seed: u32, count: usize| -> Vec<f32> {
        // Of one magnitude, with their signs.
        let one = |x: &f32| x / f32::exp2((x.to_bits() >> 23 & 0xff) as f32 - 127.0);
        let values = values(seed, 12 * count);
        let sums = values.chunks(12).map(|x| x.iter().map(one).sum());
        sums.collect()
    };
    let (mut a, b) = (like(1, count * inner), like(2, inner * columns));
    a.iter_mut().step_by(inner).for_each(|x| *x *= outlier);
    let mut out = vec![f32::NAN; count * columns];
    Packed::new([inner, columns], |row, column| b[row * columns + column]).product(&a, &mut out);
    let [mut ours, mut plain] = [0.0; 2];
    for (i, &found) in out.iter().enumerate() {
        let (row, column) = (i / columns, i % columns);
        let (mut sum, mut exact) = (0.0_f32, 0.0_f64);
        for k in 0..inner {
            let (a, b) = (a[row * inner + k], b[k * columns + column]);
            sum = a.mul_add(b, sum);
            exact += f64::from(a) * f64::from(b);
        }
        ours += (f64::from(found) - exact).powi(2);
        plain += (f64::from(sum) - exact).powi(2);
    }
    [ours, plain]
}

#[test]
fn as_exact_as_sums_in_f32() {
    if !available() {
        return;
    }
    let [ours, plain] = errors(1.0);
    assert!(ours < plain, "{ours} against {plain}");
    // Twice the error at the most where a row's values are unlike each other.
    let [ours, plain] = errors(100.0);
    assert!(ours < 4.0 * plain, "{ours} against {plain}");
}

#[test]
fn what_is_no_number_stays_none() {
    if !available() {
        return;
    }
    let (count, inner, columns) = (20, 100, 20);
    let b = values(5, inner * columns);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut a = values(6, count * inner);
        a[3 * inner + 70] = bad;
        let packed = Packed::new([inner, columns], |row, column| b[row * columns + column]);
        let mut out = vec![0.0; count * columns];
        packed.product(&a, &mut out);
        for (row, out) in out.chunks(columns).enumerate() {
            assert!(out.iter().all(|x| x.is_nan() == (row == 3)), "{bad}: {row}");
        }
    }
    // A row of zeros, and values so small that their scale would overflow.
    let a = [vec![0.0; inner], vec![1e-38; inner]].concat();
    let mut out = vec![f32::NAN; 2 * columns];
    Packed::new([inner, columns], |row, column| b[row * columns + column]).product(&a, &mut out);
    assert!(out[..columns].iter().all(|&x| x == 0.0));
    assert!(out.iter().all(|x| x.is_finite()));
}
