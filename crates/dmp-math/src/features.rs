//! Rows of features: what kernel distance, precision and recall compare.

use thiserror::Error;

/// Features `[n, d]`, row-major, one row an image.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    values: &'a [f32],
    dim: usize,
}

/// Why features cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FeaturesError {
    /// Values are no whole number of rows.
    #[error(
        "{values} feature values are no whole number of rows of {dim}; were other features given?"
    )]
    Ragged {
        /// Values given.
        values: usize,
        /// Values a row should have.
        dim: usize,
    },
    /// A feature is NaN or infinite.
    #[error(
        "row {row} of the features holds NaN or infinity; check the images and the feature network"
    )]
    NotFinite {
        /// First such row, counted from 0.
        row: usize,
    },
    /// The two sides have features of different widths.
    #[error("features of {a} and {b} values cannot be compared; use one feature network for both")]
    Width {
        /// Width of the first.
        a: usize,
        /// Width of the second.
        b: usize,
    },
    /// Too few rows for what is asked.
    #[error("{rows} images are too few: {what} needs at least {least}; give more images{or}")]
    TooFew {
        /// Rows given.
        rows: usize,
        /// What needs more.
        what: &'static str,
        /// Rows it needs.
        least: usize,
        /// Another mend, if there is one.
        or: &'static str,
    },
}

impl<'a> Features<'a> {
    /// Rows of `dim` values.
    ///
    /// # Errors
    /// When the values are no whole number of rows, or one is not finite.
    pub fn new(values: &'a [f32], dim: usize) -> Result<Self, FeaturesError> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(FeaturesError::Ragged {
                values: values.len(),
                dim,
            });
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(FeaturesError::NotFinite { row: at / dim });
        }
        Ok(Self { values, dim })
    }

    /// Number of rows n.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Values of a row d.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The values, `[n, d]`.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// One row.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.dim..][..self.dim]
    }

    pub(crate) fn same_width(&self, other: &Self) -> Result<(), FeaturesError> {
        if self.dim == other.dim {
            return Ok(());
        }
        Err(FeaturesError::Width {
            a: self.dim,
            b: other.dim,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_whole_and_finite() {
        let features = Features::new(&[1.0, 2.0, 3.0, 4.0], 2).unwrap();
        assert_eq!((features.len(), features.row(1)), (2, &[3.0, 4.0][..]));
        assert!(matches!(
            Features::new(&[1.0; 5], 2),
            Err(FeaturesError::Ragged { values: 5, dim: 2 })
        ));
        assert!(matches!(
            Features::new(&[1.0, 2.0, f32::NAN, 4.0], 2),
            Err(FeaturesError::NotFinite { row: 1 })
        ));
    }
}
