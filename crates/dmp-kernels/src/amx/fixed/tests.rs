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

/// Squared errors of a product.
struct Errors {
    ours: f64,
    /// Of plain sums in f32.
    plain: f64,
    /// What rounding each value to 2⁻²³ of its row's largest is expected to cost.
    expected: f64,
}

/// Of 40 × 768 by 768 × 48 values that are sums of twelve; column `at` of the left factor is so many times the others.
fn errors(outlier: f32, at: usize) -> Errors {
    let (count, inner, columns) = (40, 768, 48);
    let like = |seed: u32, count: usize| -> Vec<f32> {
        // Of one magnitude, with their signs.
        let one = |x: &f32| x / f32::exp2((x.to_bits() >> 23 & 0xff) as f32 - 127.0);
        let values = values(seed, 12 * count);
        let sums = values.chunks(12).map(|x| x.iter().map(one).sum());
        sums.collect()
    };
    let (mut a, b) = (like(1, count * inner), like(2, inner * columns));
    let large = a[at..].iter_mut().step_by(inner);
    large.for_each(|x| *x *= outlier);
    let mut out = vec![f32::NAN; count * columns];
    Packed::new([inner, columns], |row, column| b[row * columns + column]).product(&a, &mut out);
    let mut errors = Errors {
        ours: 0.0,
        plain: 0.0,
        expected: 0.0,
    };
    for (i, &found) in out.iter().enumerate() {
        let (row, column) = (i / columns, i % columns);
        let (mut sum, mut exact) = (0.0_f32, 0.0_f64);
        // Of a row, and of a column: the largest, and the sum of squares.
        let (mut largest, mut squares) = ([0.0_f64; 2], [0.0_f64; 2]);
        for k in 0..inner {
            let factors = [a[row * inner + k], b[k * columns + column]];
            sum = factors[0].mul_add(factors[1], sum);
            let factors = factors.map(f64::from);
            exact += factors[0] * factors[1];
            for (i, x) in factors.into_iter().enumerate() {
                largest[i] = largest[i].max(x.abs());
                squares[i] += x * x;
            }
        }
        errors.ours += (f64::from(found) - exact).powi(2);
        errors.plain += (f64::from(sum) - exact).powi(2);
        // Rounding to whole multiples of a unit is off by its twelfth, squared.
        let unit = |largest: f64| (largest / f64::from(127 << 16)).powi(2) / 12.0;
        errors.expected += squares[0] * unit(largest[1]) + squares[1] * unit(largest[0]);
    }
    errors
}

#[test]
fn as_exact_as_sums_in_f32_where_values_are_alike() {
    if !available() {
        return;
    }
    let Errors {
        ours,
        plain,
        expected,
    } = errors(1.0, 0);
    assert!(ours < plain / 4.0, "{ours} against {plain}");
    assert!(ours < 1.5 * expected, "{ours} against {expected}");
}

#[test]
fn values_are_as_exact_as_their_row_s_largest_lets_them() {
    if !available() {
        return;
    }
    for at in [0, 384, 767] {
        let Errors {
            ours,
            plain,
            expected,
        } = errors(100.0, at);
        assert!(ours < 1.5 * expected, "{at}: {ours} against {expected}");
        // Plain sums lose least where the largest comes last.
        assert!(ours < 49.0 * plain, "{at}: {ours} against {plain}");
    }
}

/// Two depths.
const DEEPER: [usize; 3] = [20, 1000, 40];

/// Some bad value in a left factor's row and in a right one's column, in its first depth or its last.
#[test]
fn what_is_no_number_stays_none() {
    if !available() {
        return;
    }
    let [count, inner, columns] = DEEPER;
    for (bad, at) in [
        (f32::NAN, 970),
        (f32::INFINITY, 70),
        (f32::NEG_INFINITY, 970),
        (f32::NAN, 70),
    ] {
        let (mut a, mut b) = (values(6, count * inner), values(5, inner * columns));
        a[3 * inner + at] = bad;
        b[at * columns + 33] = bad;
        let packed = Packed::new([inner, columns], |row, column| b[row * columns + column]);
        let mut out = vec![0.0; count * columns];
        packed.product(&a, &mut out);
        for (i, x) in out.iter().enumerate() {
            let (row, column) = (i / columns, i % columns);
            assert_eq!(x.is_nan(), row == 3 || column == 33, "{bad}, {at}: {i}");
        }
    }
}

/// Below what a scale can be, zeros among them.
#[test]
fn small_values_stay() {
    if !available() {
        return;
    }
    let [count, inner, columns] = DEEPER;
    let (mut a, mut b) = (values(6, count * inner), values(5, inner * columns));
    /// So that the largest is this one.
    fn shrink<'a>(values: impl Iterator<Item = &'a mut f32>, to: f32) {
        let mut values: Vec<_> = values.collect();
        let largest = values.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        values.iter_mut().for_each(|x| **x *= to / largest);
    }
    for (row, to) in [(3, 1e-33), (7, 0.0)] {
        shrink(a[row * inner..][..inner].iter_mut(), to);
    }
    for (column, to) in [(33, 1e-33), (34, 0.0)] {
        shrink(b[column..].iter_mut().step_by(columns), to);
    }
    let packed = Packed::new([inner, columns], |row, column| b[row * columns + column]);
    let mut out = vec![f32::NAN; count * columns];
    packed.product(&a, &mut out);
    for (i, &found) in out.iter().enumerate() {
        let (row, column) = (i / columns, i % columns);
        if row == 3 && column == 33 {
            // 1e-66.
            assert_eq!(found, 0.0);
            continue;
        }
        let (mut exact, mut largest, mut sums) = (0.0, [0.0_f64; 2], [0.0; 2]);
        for k in 0..inner {
            let factors = [a[row * inner + k], b[k * columns + column]].map(f64::from);
            exact += factors[0] * factors[1];
            for (i, x) in factors.into_iter().enumerate() {
                largest[i] = largest[i].max(x.abs());
                sums[i] += x.abs();
            }
        }
        let off = (f64::from(found) - exact).abs();
        let bound = 1e-4 * (largest[0] * sums[1] + largest[1] * sums[0]);
        assert!(off <= bound, "{i}: {off}, more than {bound}");
    }
}
