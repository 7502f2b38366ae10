//! Streaming mean and covariance of feature rows, mergeable across workers.

use thiserror::Error;

use crate::linear::{Matrix, Store, multiply};

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

impl From<&Gaussian> for Moments {
    /// The moments of the rows that a Gaussian was fitted to, so that others can join them.
    ///
    /// # Panics
    /// When the covariance is not one of as many features as the mean.
    fn from(gaussian: &Gaussian) -> Self {
        let dim = gaussian.mean.len();
        assert_eq!(gaussian.covariance.len(), dim * dim, "a covariance [d, d]");
        let freedom = gaussian.count.saturating_sub(1) as f64;
        Self {
            dim,
            count: gaussian.count,
            mean: gaussian.mean.clone(),
            scatter: gaussian.covariance.iter().map(|x| x * freedom).collect(),
            fault: None,
        }
    }
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
    /// `[d, d]` row-major.
    scatter: Vec<f64>,
    fault: Option<MomentsError>,
}

impl Moments {
    /// No rows yet, of `dim` features each.
    pub fn new(dim: usize) -> Self {
        Self {
            dim,
            count: 0,
            mean: vec![0.0; dim],
            scatter: vec![0.0; dim * dim],
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
        let centred = Matrix::new(&centred, self.dim);
        multiply(&mut self.scatter, Store::Add, 1.0, centred.t(), centred);
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
            let entries = self.scatter.iter_mut().zip(&other.scatter);
            entries.for_each(|(entry, other)| *entry += other);
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
        let rows = self.scatter.chunks_exact_mut(self.dim.max(1));
        for (row, &left) in rows.zip(&delta) {
            for (entry, &right) in row.iter_mut().zip(&delta) {
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
        let at = |i: usize, j: usize| self.scatter[i * self.dim + j];
        let entry = |i: usize, j: usize| (at(i, j) + at(j, i)) / 2.0;
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
mod tests;
