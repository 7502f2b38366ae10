//! Fréchet distance between two Gaussians (Heusel et al. 1706.08500, eq. 6).

use faer::{Mat, MatRef, Side};
use thiserror::Error;

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
    /// The decomposition gave up.
    #[error(
        "no eigenvalues found for these covariances; recompute the statistics from more images"
    )]
    NoConvergence,
}

/// |μ_a − μ_b|² + tr A + tr B − 2 tr (A B)^½, for covariances A and B of any rank.
///
/// tr (A B)^½ is the sum of the singular values of A^½ B^½, with A^½ and B^½ from symmetric
/// eigendecompositions; it equals tr (A^½ B A^½)^½ but needs no root of small, noisy eigenvalues, so a
/// covariance of fewer rows than features costs no digits. Time O(d³).
///
/// # Errors
/// When widths or shapes differ, a value is not finite or a decomposition does not converge.
pub fn frechet_distance(a: &Gaussian, b: &Gaussian) -> Result<f64, FrechetError> {
    let means = frechet_distance_of_means(a, b)?;
    let (factor_a, factor_b) = (factor(a, "first")?, factor(b, "second")?);
    // The outer rotations of A^½ and B^½ leave singular values alone: the factors are enough.
    let product = factor_a.transpose() * &factor_b;
    let overlap = nuclear_norm(product.as_ref())?;

    let traces = trace(a) + trace(b);
    // Rounding can leave equal Gaussians a hair below 0.
    Ok((means + traces - 2.0 * overlap).max(0.0))
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

/// The sum of the singular values.
fn nuclear_norm(matrix: MatRef<'_, f64>) -> Result<f64, FrechetError> {
    if matrix.nrows() == 0 || matrix.ncols() == 0 {
        return Ok(0.0); // faer's decompositions want a row and a column
    }
    let singular_values = matrix
        .singular_values()
        .map_err(|_| FrechetError::NoConvergence)?;
    Ok(singular_values.iter().sum())
}

fn trace(gaussian: &Gaussian) -> f64 {
    gaussian
        .covariance
        .iter()
        .step_by(gaussian.mean.len() + 1)
        .sum()
}

/// U √Λ with U Λ Uᵀ the covariance: `[d, r]`, r its numerical rank.
fn factor(gaussian: &Gaussian, which: &'static str) -> Result<Mat<f64>, FrechetError> {
    let dim = gaussian.mean.len();
    if gaussian.covariance.len() != dim * dim {
        return Err(FrechetError::Shape {
            found: gaussian.covariance.len(),
            dim,
        });
    }
    if !gaussian
        .mean
        .iter()
        .chain(&gaussian.covariance)
        .all(|x| x.is_finite())
    {
        return Err(FrechetError::NotFinite { which });
    }
    if dim == 0 {
        return Ok(Mat::new());
    }
    let covariance = MatRef::from_row_major_slice(&gaussian.covariance, dim, dim);
    let eigen = covariance
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| FrechetError::NoConvergence)?;
    let (vectors, values) = (eigen.U(), eigen.S().column_vector());
    // Ascending. Below d · ε · λ_max an eigenvalue is rounding: its root would be noise of 1e-8.
    let largest = values.iter().copied().fold(0.0, f64::max);
    let noise = dim as f64 * f64::EPSILON * largest;
    let first = values.iter().take_while(|&&value| value <= noise).count();
    Ok(Mat::from_fn(dim, dim - first, |row, column| {
        vectors[(row, first + column)] * values[first + column].sqrt()
    }))
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
    fn features(seed: u64, rows: usize, dim: usize) -> Gaussian {
        let mut values = vec![0.0; rows * dim];
        stream(seed, Purpose::Noise, 0).fill_normal(&mut values);
        for row in values.chunks_mut(dim) {
            for i in 1..dim {
                row[i] = 0.6 * row[i - 1] + row[i] * (1.0 + i as f32 / dim as f32);
            }
        }
        let mut moments = Moments::new(dim);
        moments.push_rows(&values);
        moments.finish().unwrap()
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
        fn is_symmetric_and_zero_on_itself(
            seed: u64, dim in 1_usize..24, rows_a in 2_usize..60, rows_b in 2_usize..60,
        ) {
            let (a, b) = (features(seed, rows_a, dim), features(!seed, rows_b, dim));
            let scale = trace(&a) + trace(&b);
            let (ab, ba) = (frechet_distance(&a, &b).unwrap(), frechet_distance(&b, &a).unwrap());
            prop_assert!((ab - ba).abs() <= 1e-10 * scale, "{ab} {ba}");
            prop_assert!(frechet_distance(&a, &a).unwrap() <= 1e-10 * scale);
            prop_assert!(ab >= 0.0);
        }
    }
}
