//! Kernel distance (KID, Bińkowski et al. 1801.01401): an unbiased estimate of the squared maximum mean
//! discrepancy under the cubic kernel (x·y/d + 1)³.

use crate::features::{Features, FeaturesError};
use crate::linear::{Matrix, Store, below_diagonal, multiply};
use crate::reference_random::RandomState;

/// How the distance is estimated; the default is torch-fidelity's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelSettings {
    /// Random subsets of each side.
    pub subsets: usize,
    /// Rows of a subset.
    pub subset_size: usize,
    /// Seed of the subsets, drawn as numpy's `RandomState` does.
    pub seed: u32,
}

impl Default for KernelSettings {
    fn default() -> Self {
        Self {
            subsets: 100,
            subset_size: 1000,
            seed: 2020,
        }
    }
}

/// Mean and spread over subsets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Mean.
    pub mean: f64,
    /// Standard deviation over subsets or splits (divided by their number), as the reference prints it.
    pub std: f64,
}

impl Estimate {
    /// Of these values.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        Self {
            mean,
            std: variance.sqrt(),
        }
    }
}

/// The kernel distance between two sets of rows: mean and standard deviation over random subsets.
///
/// # Errors
/// When widths differ, a side has fewer rows than a subset, or a subset has one row.
pub fn kernel_distance(
    a: Features<'_>,
    b: Features<'_>,
    settings: KernelSettings,
) -> Result<Estimate, FeaturesError> {
    a.same_width(&b)?;
    let least = settings.subset_size;
    if least < 2 {
        return Err(FeaturesError::TooFew {
            rows: least,
            what: "a subset of the kernel distance",
            least: 2,
            or: "",
        });
    }
    for side in [a, b] {
        if side.len() < least {
            return Err(FeaturesError::TooFew {
                rows: side.len(),
                what: "a subset of the kernel distance",
                least,
                or: " or make the subsets smaller",
            });
        }
    }
    let mut random = RandomState::new(settings.seed);
    let estimates: Vec<f64> = (0..settings.subsets)
        .map(|_| {
            let mut subset =
                |side: Features<'_>| rows(side, &random.choice(side.len(), settings.subset_size));
            let (x, y) = (subset(a), subset(b));
            unbiased(&x, &y, a.dim())
        })
        .collect();
    Ok(Estimate::of(&estimates))
}

/// Chosen rows in f64, `[m, d]`.
fn rows(features: Features<'_>, chosen: &[usize]) -> Vec<f64> {
    chosen
        .iter()
        .flat_map(|&row| features.row(row).iter().map(|&value| f64::from(value)))
        .collect()
}

/// Σ_{i≠j} k(x_i, x_j) / m(m−1) + the same of y − 2 Σ k(x_i, y_j) / m² (eq. 4 of the paper, with its last sum over
/// all pairs, as the references have it).
fn unbiased(x: &[f64], y: &[f64], dim: usize) -> f64 {
    let m = (x.len() / dim) as f64;
    let (within_x, within_y) = rayon::join(|| within(x, dim), || within(y, dim));
    2.0 * (within_x + within_y) / (m * (m - 1.0)) - 2.0 * across(x, y, dim) / (m * m)
}

/// Σ k(xᵢ, xⱼ) over i > j, half of what all pairs of different rows have.
fn within(rows: &[f64], dim: usize) -> f64 {
    let count = rows.len() / dim;
    let mut products = vec![0.0; count * count];
    below_diagonal(&mut products, 1.0 / dim as f64, Matrix::new(rows, dim));
    let below = |i: usize| products[i * count..][..i].iter();
    (0..count)
        .map(|i| below(i).map(|&mean| cubic(mean)).sum::<f64>())
        .sum()
}

/// Σ k(xᵢ, yⱼ) over all pairs.
fn across(x: &[f64], y: &[f64], dim: usize) -> f64 {
    let columns = y.len() / dim;
    let mut products = vec![0.0; x.len() / dim * columns];
    let (lhs, rhs) = (Matrix::new(x, dim), Matrix::new(y, dim).t());
    multiply(&mut products, Store::Set, 1.0 / dim as f64, lhs, rhs);
    let rows = products.chunks_exact(columns);
    rows.map(|row| row.iter().map(|&mean| cubic(mean)).sum::<f64>())
        .sum()
}

/// The kernel, of x·y/d.
fn cubic(mean_product: f64) -> f64 {
    (mean_product + 1.0).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the definition, pair by pair, on one subset of everything.
    #[test]
    fn is_the_sum_over_pairs() {
        let x = [0.5f32, -1.0, 2.0, 0.25, 1.0, 1.0];
        let y = [1.5f32, 0.0, -0.5, 0.75, 0.0, 2.0];
        let k = |a: &[f32], b: &[f32]| {
            let dot: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum();
            (dot / 2.0 + 1.0).powi(3)
        };
        let (mut same, mut cross) = (0.0, 0.0);
        for (i, a) in x.chunks(2).enumerate() {
            for (j, b) in x.chunks(2).enumerate() {
                same += if i == j { 0.0 } else { k(a, b) };
            }
            cross += y.chunks(2).map(|b| k(a, b)).sum::<f64>();
        }
        for (i, a) in y.chunks(2).enumerate() {
            for (j, b) in y.chunks(2).enumerate() {
                same += if i == j { 0.0 } else { k(a, b) };
            }
        }
        let settings = KernelSettings {
            subsets: 2,
            subset_size: 3,
            seed: 0,
        };
        let features = |rows| Features::new(rows, 2).unwrap();
        let found = kernel_distance(features(&x), features(&y), settings).unwrap();
        assert!((found.mean - (same / 6.0 - 2.0 * cross / 9.0)).abs() < 1e-9);
        assert!(found.std < 1e-9, "every subset is everything");
    }

    #[test]
    fn too_few_rows_are_named() {
        let rows = [0.0f32; 20];
        let few = Features::new(&rows, 2).unwrap();
        let error = kernel_distance(few, few, KernelSettings::default()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("10 images") && text.contains("1000"),
            "{text}"
        );
    }
}
