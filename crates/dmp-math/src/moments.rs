//! Streaming mean and covariance of feature rows, mergeable across workers.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use thiserror::Error;

/// Rows centred and multiplied at once; bounds the memory of a large push.
const BLOCK: usize = 256;

/// A Gaussian fitted to features: what the Fréchet distance compares.
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    /// Rows it was fitted to, n.
    pub count: usize,
    /// Mean, `[d]`.
    pub mean: Vec<f64>,
    /// Unbiased covariance (divided by n − 1, as `numpy.cov`), `[d, d]` row-major.
    pub covariance: Vec<f64>,
}

/// Why features have no mean and covariance.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MomentsError {
    /// A covariance needs two rows.
    #[error("{count} feature row(s) give no covariance; give at least 2, better several thousand")]
    TooFew {
        /// Rows pushed.
        count: usize,
    },
    /// Values pushed were no whole number of rows.
    #[error(
        "{values} feature values are no whole number of rows of {dim}; were other features given?"
    )]
    Ragged {
        /// Values in the push.
        values: usize,
        /// Values a row should have.
        dim: usize,
    },
    /// Merged moments are of another width.
    #[error(
        "features of {found} values cannot be merged with features of {dim}; use one feature network"
    )]
    Width {
        /// Width of the moments merged in.
        found: usize,
        /// Width expected.
        dim: usize,
    },
    /// A feature is NaN or infinite.
    #[error(
        "feature {feature} is NaN or infinite in some row; check the images and the feature network"
    )]
    NotFinite {
        /// First such feature, counted from 0.
        feature: usize,
    },
}

/// Count, mean and scatter matrix Σ (x − mean)(x − mean)ᵀ of the rows seen so far, in f64.
///
/// Batches are centred on their own mean and joined by Chan, Golub & LeVeque's pairwise update, so
/// features far from zero lose no digits. A push or merge that does not fit is reported by
/// [`finish`](Self::finish).
#[derive(Clone, Debug)]
pub struct Moments {
    dim: usize,
    count: usize,
    mean: Vec<f64>,
    scatter: Mat<f64>,
    fault: Option<MomentsError>,
}

impl Moments {
    /// No rows yet, of `dim` features each.
    pub fn new(dim: usize) -> Self {
        Self {
            dim,
            count: 0,
            mean: vec![0.0; dim],
            scatter: Mat::zeros(dim, dim),
            fault: None,
        }
    }

    /// Features in a row, d.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Rows seen so far, n.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds `rows`, `[n, d]` row-major.
    pub fn push_rows(&mut self, rows: &[f32]) {
        if rows.len().checked_rem(self.dim).unwrap_or(rows.len()) != 0 {
            self.fail(MomentsError::Ragged {
                values: rows.len(),
                dim: self.dim,
            });
            return;
        }
        // A row of no features has no length to cut by; there is then nothing to add either.
        for block in rows.chunks(BLOCK * self.dim.max(1)) {
            self.push_block(block);
        }
    }

    fn push_block(&mut self, rows: &[f32]) {
        let count = rows.len() / self.dim;
        let mut mean = vec![0.0; self.dim];
        for row in rows.chunks_exact(self.dim) {
            for (sum, &x) in mean.iter_mut().zip(row) {
                *sum += f64::from(x);
            }
        }
        for sum in &mut mean {
            *sum /= count as f64;
        }
        let centred: Vec<f64> = rows
            .chunks_exact(self.dim)
            .flat_map(|row| row.iter().zip(&mean).map(|(&x, mean)| f64::from(x) - mean))
            .collect();
        let centred = MatRef::from_row_major_slice(&centred, count, self.dim);
        let (lhs, par) = (centred.transpose(), Par::Seq);
        matmul(self.scatter.as_mut(), Accum::Add, lhs, centred, 1.0, par);
        self.shift(count, &mean);
    }

    /// Adds the rows `other` has seen.
    pub fn merge(&mut self, other: &Self) {
        if let Some(fault) = &other.fault {
            self.fail(fault.clone());
        }
        if other.dim != self.dim {
            self.fail(MomentsError::Width {
                found: other.dim,
                dim: self.dim,
            });
        } else if other.count > 0 {
            self.scatter += &other.scatter;
            self.shift(other.count, &other.mean);
        }
    }

    /// Joins in `count` rows of mean `mean`, whose scatter about that mean is already added:
    /// scatter += δδᵀ · n·m / (n + m) with δ the distance of the means (Chan et al. 1979, eq. 2.1).
    fn shift(&mut self, count: usize, mean: &[f64]) {
        let (old, new) = (self.count as f64, count as f64);
        let total = old + new;
        let delta: Vec<f64> = mean
            .iter()
            .zip(&self.mean)
            .map(|(new, old)| new - old)
            .collect();
        let weight = old * new / total;
        for (column, &right) in delta.iter().enumerate() {
            let scatter = self.scatter.col_mut(column).iter_mut();
            for (entry, &left) in scatter.zip(&delta) {
                *entry += left * right * weight;
            }
        }
        for (mean, delta) in self.mean.iter_mut().zip(&delta) {
            *mean += delta * new / total;
        }
        self.count += count;
    }

    /// The Gaussian with the mean and unbiased covariance of all rows.
    ///
    /// # Errors
    /// When fewer than two rows were seen, a push or merge did not fit, or a value was not finite.
    pub fn finish(&self) -> Result<Gaussian, MomentsError> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        if self.count < 2 {
            return Err(MomentsError::TooFew { count: self.count });
        }
        // A NaN or an infinity in a row makes its mean one too, or NaN.
        if let Some(feature) = self.mean.iter().position(|mean| !mean.is_finite()) {
            return Err(MomentsError::NotFinite { feature });
        }
        let freedom = (self.count - 1) as f64;
        // Both triangles are averaged: the product's rounding need not be symmetric.
        let entry = |i: usize, j: usize| (self.scatter[(i, j)] + self.scatter[(j, i)]) / 2.0;
        let covariance = (0..self.dim)
            .flat_map(|i| (0..self.dim).map(move |j| (i, j)))
            .map(|(i, j)| entry(i, j) / freedom)
            .collect();
        Ok(Gaussian {
            count: self.count,
            mean: self.mean.clone(),
            covariance,
        })
    }

    /// Keeps the first fault.
    fn fail(&mut self, fault: MomentsError) {
        self.fault.get_or_insert(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moments(dim: usize, rows: &[f32]) -> Moments {
        let mut moments = Moments::new(dim);
        moments.push_rows(rows);
        moments
    }

    /// Two passes in the plainest way.
    fn two_pass(dim: usize, rows: &[f32]) -> Gaussian {
        let count = rows.len() / dim;
        let at = |r: usize, i: usize| f64::from(rows[r * dim + i]);
        let mean: Vec<f64> = (0..dim)
            .map(|i| (0..count).map(|r| at(r, i)).sum::<f64>() / count as f64)
            .collect();
        let covariance = (0..dim * dim)
            .map(|k| (k / dim, k % dim))
            .map(|(i, j)| {
                let product = |r| (at(r, i) - mean[i]) * (at(r, j) - mean[j]);
                (0..count).map(product).sum::<f64>() / (count - 1) as f64
            })
            .collect();
        Gaussian {
            count,
            mean,
            covariance,
        }
    }

    fn assert_close(a: &Gaussian, b: &Gaussian, tolerance: f64) {
        assert_eq!(a.count, b.count);
        let pairs = a
            .mean
            .iter()
            .zip(&b.mean)
            .chain(a.covariance.iter().zip(&b.covariance));
        for (x, y) in pairs {
            assert!((x - y).abs() <= tolerance * (1.0 + y.abs()), "{x} {y}");
        }
    }

    #[test]
    fn a_small_case_by_hand() {
        let gaussian = moments(2, &[1.0, 2.0, 3.0, 6.0]).finish().unwrap();
        assert_eq!(gaussian.mean, [2.0, 4.0]);
        assert_eq!(gaussian.covariance, [2.0, 4.0, 4.0, 8.0]);
    }

    #[test]
    fn an_offset_costs_no_digits() {
        let rows: Vec<f32> = (0..4000).map(|i| 1e6 + (i * 7919 % 101) as f32).collect();
        let exact = two_pass(4, &rows);
        assert_close(&moments(4, &rows).finish().unwrap(), &exact, 1e-10);
    }

    #[test]
    fn what_does_not_fit_is_named_at_the_end() {
        let error = |moments: &Moments| moments.finish().unwrap_err();
        assert_eq!(
            error(&moments(3, &[1.0; 3])),
            MomentsError::TooFew { count: 1 }
        );
        assert_eq!(
            error(&moments(3, &[1.0; 4])),
            MomentsError::Ragged { values: 4, dim: 3 }
        );
        assert_eq!(
            error(&moments(0, &[1.0])),
            MomentsError::Ragged { values: 1, dim: 0 }
        );
        assert_eq!(error(&moments(0, &[])), MomentsError::TooFew { count: 0 });
        let mut merged = moments(3, &[1.0; 9]);
        merged.merge(&Moments::new(2));
        assert_eq!(error(&merged), MomentsError::Width { found: 2, dim: 3 });
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let bad = moments(2, &[1.0, 2.0, 3.0, bad, 0.0, f32::INFINITY]);
            assert_eq!(error(&bad), MomentsError::NotFinite { feature: 1 });
        }
    }

    fn rows_of(dim: usize) -> impl Strategy<Value = Vec<f32>> {
        (2_usize..700).prop_flat_map(move |n| prop::collection::vec(-10.0_f32..10.0, n * dim))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn merging_equals_pushing_all(rows in rows_of(3), cut in 0.0..1.0, row_by_row: bool) {
            let cut = (rows.len() as f64 / 3.0 * cut) as usize * 3;
            let all = moments(3, &rows).finish().unwrap();
            assert_close(&all, &two_pass(3, &rows), 1e-11);

            let mut merged = moments(3, &rows[..cut]);
            if row_by_row {
                rows[cut..].chunks(3).for_each(|row| merged.push_rows(row));
            } else {
                merged.merge(&moments(3, &rows[cut..]));
            }
            assert_close(&merged.finish().unwrap(), &all, 1e-11);
        }
    }
}
