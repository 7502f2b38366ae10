//! Student's t distribution with whole degrees of freedom: how far a mean of a few values may be from the truth.

use std::f64::consts::FRAC_PI_2;

/// Halvings of a quarter turn: what is left is below the last bit of any angle but the smallest.
const HALVINGS: usize = 80;

/// The t that a variable of Student's distribution stays below with probability `p`.
///
/// It is exact but for rounding: P(|T| ≤ t) is a finite sum (Abramowitz and Stegun, 26.7.3 and 26.7.4), and the sum is
/// inverted by bisection. The sum has `degrees` / 2 terms. NaN without degrees of freedom, or where `p` is no probability.
///
/// ```
/// let t = dmp_math::student::quantile(0.975, 2);
/// assert!((t - 4.302_652_729_749).abs() < 1e-11);
/// ```
pub fn quantile(p: f64, degrees: u32) -> f64 {
    if degrees == 0 || !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p < 0.5 {
        return -quantile(1.0 - p, degrees);
    }
    if p == 1.0 {
        return f64::INFINITY;
    }
    let wanted = 2.0 * p - 1.0;
    let (mut low, mut high) = (0.0, FRAC_PI_2);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if within(middle, degrees) < wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::from(degrees).sqrt() * low.tan()
}

/// P(|T| ≤ √ν tan θ), for θ from 0 to a quarter turn.
fn within(theta: f64, degrees: u32) -> f64 {
    let (sin, cos) = theta.sin_cos();
    let odd = degrees % 2 == 1;
    // The powers of the cosine are even for even degrees and odd for odd ones, each term the one before it times
    // (k − 1)/k · cos²θ.
    let mut term = if odd { cos } else { 1.0 };
    let mut sum = if degrees == 1 { 0.0 } else { term };
    let mut k = if odd { 3 } else { 2 };
    while k < degrees {
        term *= f64::from(k - 1) / f64::from(k) * cos * cos;
        sum += term;
        k += 2;
    }
    if odd {
        (theta + sin * sum) / FRAC_PI_2
    } else {
        sin * sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of the tables of any book, with more digits than they print.
    #[test]
    fn known_quantiles() {
        for (p, degrees, t) in [
            (0.975, 1, 12.706_204_736_174_7),
            (0.975, 2, 4.302_652_729_749_46),
            (0.975, 3, 3.182_446_305_283_71),
            (0.975, 4, 2.776_445_105_197_79),
            (0.975, 5, 2.570_581_835_636_32),
            (0.975, 10, 2.228_138_851_986_27),
            (0.975, 30, 2.042_272_456_301_24),
            (0.975, 100, 1.983_971_518_523_55),
            (0.95, 7, 1.894_578_605_090_01),
            (0.995, 2, 9.924_843_200_918_07),
            (0.5, 6, 0.0),
        ] {
            let found = quantile(p, degrees);
            assert!(
                (found - t).abs() <= 1e-11 * t.max(1.0),
                "{p} {degrees}: {found}"
            );
        }
    }

    #[test]
    fn many_degrees_are_normal() {
        assert!((quantile(0.975, 1_000_000) - 1.959_963_984_540).abs() < 1e-5);
    }

    #[test]
    fn what_is_no_probability_has_no_quantile() {
        assert!(quantile(0.975, 0).is_nan() && quantile(1.5, 3).is_nan());
        assert!(quantile(f64::NAN, 3).is_nan());
        assert_eq!(quantile(1.0, 3), f64::INFINITY);
    }

    proptest! {
        /// Two degrees have a closed form, t = (2p − 1) / √(2p (1 − p)).
        #[test]
        fn two_degrees_in_closed_form(p in 0.001..0.999_f64) {
            let t = (2.0 * p - 1.0) / (2.0 * p * (1.0 - p)).sqrt();
            prop_assert!((quantile(p, 2) - t).abs() < 1e-9 * t.abs().max(1.0));
        }

        #[test]
        fn both_sides_are_alike(p in 0.501..0.999_f64, degrees in 1..40_u32) {
            prop_assert!((quantile(p, degrees) + quantile(1.0 - p, degrees)).abs() < 1e-9 * quantile(p, degrees));
            prop_assert!(quantile(p, degrees + 1) < quantile(p, degrees));
        }
    }
}
