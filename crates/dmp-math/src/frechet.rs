//! Fréchet distance between two Gaussians (Heusel et al. 1706.08500, eq. 6).

use thiserror::Error;

use crate::linear::{Matrix, Store, factor, multiply, nuclear_norm};
use crate::moments::Gaussian;

/// Why two Gaussians have no distance.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrechetError {
    /// The two describe features of different widths.
    #[error("features of {a} and {b} values cannot be compared; use one feature network for both")]
    Width {
        /// Width of the first.
        a: usize,
        /// Width of the second.
        b: usize,
    },
    /// A covariance is not `[d, d]`.
    #[error(
        "a covariance of {found} values does not belong to a mean of {dim}; it should have d·d"
    )]
    Shape {
        /// Values in the covariance.
        found: usize,
        /// Values in the mean.
        dim: usize,
    },
    /// A mean or covariance holds NaN or infinity.
    #[error("the {which} statistics hold NaN or infinity; compute them again from finite features")]
    NotFinite {
        /// "first" or "second".
        which: &'static str,
    },
    /// Values so large that squares of them are no numbers.
    #[error(
        "the statistics are so large that they have no distance; compute them again from finite features"
    )]
    Overflow,
}

/// |μ_a − μ_b|² + tr A + tr B − 2 tr (A B)^½, for covariances A and B of any rank.
///
/// tr (A B)^½ is the sum of the singular values of F Gᵀ for any F and G with A = FᵀF and B = GᵀG, and Cholesky's factors, with pivots,
/// are such. It equals tr (A^½ B A^½)^½ but needs no root of small, noisy eigenvalues, so a covariance of fewer rows than features
/// costs no digits. Of a covariance that is not quite symmetric the symmetric part counts, and of one that is not quite positive what
/// exceeds its own noise. Time O(d³).
///
/// # Errors
/// When widths or shapes differ, or a value or the distance is not finite.
pub fn frechet_distance(a: &Gaussian, b: &Gaussian) -> Result<f64, FrechetError> {
    let means = frechet_distance_of_means(a, b)?;
    let (first, second) = (checked(a, "first")?, checked(b, "second")?);
    let dim = a.mean.len();
    let overlap = overlap(&factor(first, dim), &factor(second, dim), dim);
    let distance = means + trace(a) + trace(b) - 2.0 * overlap;
    if !distance.is_finite() {
        return Err(FrechetError::Overflow);
    }
    // Rounding can leave equal Gaussians a hair below 0.
    Ok(distance.max(0.0))
}

/// The part of [`frechet_distance`] that the means make, |μ_a − μ_b|²: what is left of it when both covariances are alike.
///
/// # Errors
/// When widths differ.
pub fn frechet_distance_of_means(a: &Gaussian, b: &Gaussian) -> Result<f64, FrechetError> {
    let (dim, other) = (a.mean.len(), b.mean.len());
    if other != dim {
        return Err(FrechetError::Width { a: dim, b: other });
    }
    let differences = a.mean.iter().zip(&b.mean).map(|(a, b)| a - b);
    Ok(differences.map(|difference| difference.powi(2)).sum())
}

/// tr (A B)^½ of `[r, d]` and `[s, d]`, factors of A and B.
fn overlap(a: &[f64], b: &[f64], dim: usize) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 0.0; // a point overlaps with nothing
    }
    let columns = b.len() / dim;
    let mut product = vec![0.0; a.len() / dim * columns];
    let (a, b) = (Matrix::new(a, dim), Matrix::new(b, dim));
    multiply(&mut product, Store::Set, 1.0, a, b.t());
    nuclear_norm(product, columns)
}

fn trace(gaussian: &Gaussian) -> f64 {
    gaussian
        .covariance
        .iter()
        .step_by(gaussian.mean.len() + 1)
        .sum()
}

/// The covariance's symmetric part, once it is known to be square and finite.
fn checked(gaussian: &Gaussian, which: &'static str) -> Result<Vec<f64>, FrechetError> {
    let dim = gaussian.mean.len();
    if gaussian.covariance.len() != dim * dim {
        return Err(FrechetError::Shape {
            found: gaussian.covariance.len(),
            dim,
        });
    }
    let mut values = gaussian.mean.iter().chain(&gaussian.covariance);
    if !values.all(|x| x.is_finite()) {
        return Err(FrechetError::NotFinite { which });
    }
    let at = |row: usize, column: usize| gaussian.covariance[row * dim + column];
    Ok((0..dim * dim)
        .map(|x| (at(x / dim, x % dim) + at(x % dim, x / dim)) / 2.0)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moments::Moments;
    use crate::seed::{Purpose, stream};
    use proptest::prelude::*;

    fn gaussian(mean: &[f64], covariance: &[f64]) -> Gaussian {
        Gaussian {
            count: 10,
            mean: mean.to_vec(),
            covariance: covariance.to_vec(),
        }
    }

    /// `rows` random features of width `dim`, mixed so that they correlate.
    fn features(seed: u64, rows: usize, dim: usize) -> Vec<f32> {
        let mut values = vec![0.0; rows * dim];
        stream(seed, Purpose::Noise, 0).fill_normal(&mut values);
        for row in values.chunks_mut(dim) {
            for i in 1..dim {
                row[i] = 0.6 * row[i - 1] + row[i] * (1.0 + i as f32 / dim as f32);
            }
        }
        values
    }

    fn fitted(rows: &[f32], dim: usize) -> Gaussian {
        let mut moments = Moments::new(dim);
        moments.push_rows(rows);
        moments.finish().unwrap()
    }

    /// The rows less their mean, over the root of one fewer than there are: a factor of their covariance too.
    fn centred(rows: &[f32], dim: usize) -> Vec<f64> {
        let mean = fitted(rows, dim).mean;
        let freedom = (rows.len() / dim - 1) as f64;
        rows.iter()
            .enumerate()
            .map(|(at, &x)| (f64::from(x) - mean[at % dim]) / freedom.sqrt())
            .collect()
    }

    #[test]
    fn diagonal_covariances_have_a_closed_form() {
        let a = gaussian(&[1.0, 2.0], &[4.0, 0.0, 0.0, 9.0]);
        let b = gaussian(&[4.0, 6.0], &[1.0, 0.0, 0.0, 0.0]);
        // 25 + (2 − 1)² + (3 − 0)²
        assert!((frechet_distance(&a, &b).unwrap() - 35.0).abs() < 1e-12);
        assert_eq!(frechet_distance_of_means(&a, &b), Ok(25.0));
    }

    #[test]
    fn a_point_has_no_overlap() {
        let a = gaussian(&[0.0, 0.0], &[0.0; 4]);
        let b = gaussian(&[3.0, 4.0], &[1.0, 0.0, 0.0, 1.0]);
        assert_eq!(frechet_distance(&a, &b), Ok(27.0));
        assert_eq!(frechet_distance(&a, &a), Ok(0.0));
        let none = gaussian(&[], &[]);
        assert_eq!(frechet_distance(&none, &none), Ok(0.0));
    }

    #[test]
    fn errors_name_what_does_not_fit() {
        let a = gaussian(&[0.0, 0.0], &[1.0, 0.0, 0.0, 1.0]);
        let narrow = gaussian(&[0.0], &[1.0]);
        let misshapen = gaussian(&[0.0, 0.0], &[1.0]);
        let nan = gaussian(&[0.0, 0.0], &[1.0, f64::NAN, 0.0, 1.0]);
        assert_eq!(
            frechet_distance(&a, &narrow),
            Err(FrechetError::Width { a: 2, b: 1 })
        );
        assert_eq!(
            frechet_distance(&a, &misshapen),
            Err(FrechetError::Shape { found: 1, dim: 2 })
        );
        assert_eq!(
            frechet_distance(&a, &nan),
            Err(FrechetError::NotFinite { which: "second" })
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        // Fewer rows than features included: such covariances are singular.
        #[test]
        fn factors_overlap_as_the_rows_do(
            seed: u64, dim in 1_usize..24, rows_a in 2_usize..60, rows_b in 2_usize..60,
        ) {
            let (a, b) = (features(seed, rows_a, dim), features(!seed, rows_b, dim));
            let expected = overlap(&centred(&a, dim), &centred(&b, dim), dim);
            let (mut a, mut b) = (fitted(&a, dim), fitted(&b, dim));
            let scale = trace(&a) + trace(&b);
            let found = |a: &Gaussian, b: &Gaussian| {
                let of = |g: &Gaussian| factor(checked(g, "first").unwrap(), dim);
                overlap(&of(a), &of(b), dim)
            };
            let close = |x: f64, y: f64, bound: f64| (x - y).abs() <= bound * scale;
            prop_assert!(close(found(&a, &b), expected, 1e-10), "{} {expected}", found(&a, &b));
            prop_assert!(close(found(&b, &a), expected, 1e-10), "{} {expected}", found(&b, &a));
            prop_assert!(close(found(&a, &a), trace(&a), 1e-10), "{} {}", found(&a, &a), trace(&a));
            // As statistics in f32 files have them, whose noise is more than the smallest eigenvalues are.
            for x in a.covariance.iter_mut().chain(&mut b.covariance) {
                *x = f64::from(*x as f32);
            }
            prop_assert!(close(found(&a, &b), expected, 1e-4), "{} {expected}", found(&a, &b));
            prop_assert!(close(found(&a, &a), trace(&a), 1e-5), "{} {}", found(&a, &a), trace(&a));
        }
    }

    #[test]
    fn the_symmetric_part_counts() {
        let symmetric = gaussian(&[0.0, 0.0], &[2.0, 0.5, 0.5, 1.0]);
        let not = gaussian(&[0.0, 0.0], &[2.0, 0.75, 0.25, 1.0]);
        assert!(frechet_distance(&symmetric, &not).unwrap() < 1e-14);
    }

    #[test]
    fn what_overflows_is_an_error() {
        let large = gaussian(&[0.0], &[1e308]);
        let far = gaussian(&[1e200], &[1.0]);
        for a in [&large, &far] {
            let found = frechet_distance(a, &gaussian(&[0.0], &[1e308]));
            assert_eq!(found, Err(FrechetError::Overflow));
        }
    }
}
