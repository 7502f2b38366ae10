//! Precision and recall (Kynkäänniemi et al. 1904.06991), density and coverage (Naeem et al. 2002.09797): how much
//! of one set of rows lies within the balls that reach from each row of the other to its k-th neighbour.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use crate::features::{Features, FeaturesError};

/// Rows compared with all others at once; bounds memory.
const BLOCK: usize = 256;

/// How well generated rows fill the manifold of reference rows; each from 0 to 1, but for density.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Manifold {
    /// Share of generated rows inside some reference row's ball: realism.
    pub precision: f64,
    /// Share of reference rows inside some generated row's ball: diversity.
    pub recall: f64,
    /// Reference balls a generated row is inside, over k, on average; may exceed 1.
    pub density: f64,
    /// Share of reference rows whose own ball has a generated row inside.
    pub coverage: f64,
}

/// Compares `generated` rows with `reference` rows, balls reaching to the `k`-th nearest other row (3 in the paper
/// and in the references).
///
/// # Errors
/// When widths differ, `k` is 0 or a side has no more than `k` rows.
pub fn manifold(
    generated: Features<'_>,
    reference: Features<'_>,
    k: usize,
) -> Result<Manifold, FeaturesError> {
    generated.same_width(&reference)?;
    for side in [generated, reference] {
        if side.len() <= k || k == 0 {
            return Err(FeaturesError::TooFew {
                rows: side.len(),
                what: "a neighbourhood of precision and recall",
                least: k.max(1) + 1,
                or: " or ask for fewer neighbours",
            });
        }
    }
    let (generated_radii, reference_radii) = (radii(generated, k), radii(reference, k));
    let mut tally = Tally::new(generated.len(), reference.len());
    for_each_distance(generated, reference, |g, r, squared| {
        if squared <= reference_radii[r] {
            tally.generated_inside[g] += 1;
            tally.reference_filled[r] = true;
        }
        if squared <= generated_radii[g] {
            tally.reference_inside[r] = true;
        }
    });
    Ok(tally.finish(k))
}

struct Tally {
    /// Reference balls that each generated row is inside.
    generated_inside: Vec<usize>,
    reference_inside: Vec<bool>,
    reference_filled: Vec<bool>,
}

impl Tally {
    fn new(generated: usize, reference: usize) -> Self {
        Self {
            generated_inside: vec![0; generated],
            reference_inside: vec![false; reference],
            reference_filled: vec![false; reference],
        }
    }

    fn finish(self, k: usize) -> Manifold {
        let generated = self.generated_inside.len() as f64;
        let share =
            |set: &[bool]| set.iter().filter(|&&inside| inside).count() as f64 / set.len() as f64;
        let inside = self.generated_inside.iter().filter(|&&balls| balls > 0);
        Manifold {
            precision: inside.count() as f64 / generated,
            recall: share(&self.reference_inside),
            density: self.generated_inside.iter().sum::<usize>() as f64 / (k as f64 * generated),
            coverage: share(&self.reference_filled),
        }
    }
}

/// Squared distance of each row to its `k`-th nearest other row.
fn radii(rows: Features<'_>, k: usize) -> Vec<f64> {
    let mut distances = vec![0.0; rows.len()];
    let mut radii = Vec::with_capacity(rows.len());
    for_each_distance(rows, rows, |_, other, squared| {
        distances[other] = squared;
        if other + 1 == rows.len() {
            // The row itself is the nearest, at 0; so the k-th other one has index k.
            let (_, radius, _) = distances.select_nth_unstable_by(k, f64::total_cmp);
            radii.push(*radius);
        }
    });
    radii
}

/// Calls `visit(i, j, |aᵢ − bⱼ|²)` for all pairs, i by i and j in order.
fn for_each_distance(a: Features<'_>, b: Features<'_>, mut visit: impl FnMut(usize, usize, f64)) {
    let dim = a.dim();
    // Distances are differences of large numbers unless the rows are centred first.
    let centre = mean(b);
    let centred = |rows: &[f32]| -> Vec<f64> {
        rows.chunks_exact(dim)
            .flat_map(|row| row.iter().zip(&centre).map(|(&x, c)| f64::from(x) - c))
            .collect()
    };
    let all = centred(b.values());
    let squares = |rows: &[f64]| -> Vec<f64> {
        rows.chunks_exact(dim)
            .map(|row| row.iter().map(|x| x * x).sum())
            .collect()
    };
    let all_squares = squares(&all);
    let all = MatRef::from_row_major_slice(&all, b.len(), dim);
    for (block, rows) in a.values().chunks(BLOCK * dim).enumerate() {
        let rows = centred(rows);
        let row_squares = squares(&rows);
        let view = MatRef::from_row_major_slice(&rows, row_squares.len(), dim);
        // [b, block]: the distances of one row of `a` lie side by side.
        let mut products = Mat::zeros(b.len(), row_squares.len());
        let (lhs, rhs) = (all, view.transpose());
        matmul(products.as_mut(), Accum::Replace, lhs, rhs, 1.0, Par::Seq);
        for (i, row_square) in row_squares.iter().enumerate() {
            for (j, (product, square)) in products.col(i).iter().zip(&all_squares).enumerate() {
                let squared = (row_square + square - 2.0 * product).max(0.0);
                visit(block * BLOCK + i, j, squared);
            }
        }
    }
}

fn mean(rows: Features<'_>) -> Vec<f64> {
    let mut mean = vec![0.0; rows.dim()];
    for row in rows.values().chunks_exact(rows.dim()) {
        mean.iter_mut()
            .zip(row)
            .for_each(|(sum, &x)| *sum += f64::from(x));
    }
    mean.iter_mut().for_each(|sum| *sum /= rows.len() as f64);
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[f32]) -> Features<'_> {
        Features::new(values, 1).unwrap()
    }

    /// On a line, by hand, with k = 1. Reference 0, 1, 3, 10: radii 1, 1, 2, 7. Generated 0.5, 4, 40: radii 3.5, 3.5, 36.
    #[test]
    fn four_points_on_a_line() {
        let reference = [0.0, 1.0, 3.0, 10.0];
        let found = manifold(line(&[0.5, 4.0, 40.0]), line(&reference), 1).unwrap();
        // 0.5 is inside the balls of 0 and 1; 4 inside those of 3 and 10; 40 inside none.
        assert_eq!(found.precision, 2.0 / 3.0);
        assert_eq!(found.density, 4.0 / 3.0);
        assert_eq!(found.coverage, 1.0);
        // 0, 1 and 3 are within 3.5 of 0.5; 10 is within 36 of 40.
        assert_eq!(found.recall, 1.0);
        // Without the far one nothing reaches 10.
        let found = manifold(line(&[0.5, 4.0]), line(&reference), 1).unwrap();
        assert_eq!(found.recall, 0.75);
    }

    /// More rows than a block, far from zero: a set against itself is inside itself.
    #[test]
    fn a_set_fills_itself() {
        let rows: Vec<f32> = (0..600).map(|i| 1000.0 + (i * i % 101) as f32).collect();
        let rows = Features::new(&rows, 2).unwrap();
        let found = manifold(rows, rows, 3).unwrap();
        assert_eq!(
            (found.precision, found.recall, found.coverage),
            (1.0, 1.0, 1.0)
        );
    }

    #[test]
    fn too_few_rows_are_named() {
        let error = manifold(line(&[0.0; 3]), line(&[0.0; 9]), 3).unwrap_err();
        assert!(matches!(
            error,
            FeaturesError::TooFew {
                rows: 3,
                least: 4,
                ..
            }
        ));
    }
}
