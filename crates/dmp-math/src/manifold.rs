//! Precision and recall (Kynkäänniemi et al. 1904.06991), density and coverage (Naeem et al. 2002.09797): how much
//! of one set of rows lies within the balls that reach from each row of the other to its k-th neighbour.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::features::{Features, FeaturesError};
use crate::linear::{Matrix, Store, multiply};

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
    // Of each reference row: whether its ball has a generated row inside, and whether a generated row's ball has it inside.
    let (filled, reached) = (Flags::new(reference.len()), Flags::new(reference.len()));
    // Reference balls that each generated row is inside.
    let balls: Vec<usize> = of_each_row(generated, reference, |g, distances| {
        let mut balls = 0;
        for (r, &squared) in distances.iter().enumerate() {
            if squared <= reference_radii[r] {
                balls += 1;
                filled.set(r);
            }
            if squared <= generated_radii[g] {
                reached.set(r);
            }
        }
        balls
    });
    let rows = generated.len() as f64;
    Ok(Manifold {
        precision: balls.iter().filter(|&&balls| balls > 0).count() as f64 / rows,
        recall: reached.share(),
        density: balls.iter().sum::<usize>() as f64 / (k as f64 * rows),
        coverage: filled.share(),
    })
}

/// Marks that any thread may set.
struct Flags(Vec<AtomicBool>);

impl Flags {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| AtomicBool::new(false)).collect())
    }

    fn set(&self, index: usize) {
        self.0[index].store(true, Ordering::Relaxed);
    }

    /// The share that is set.
    fn share(&self) -> f64 {
        let set = self.0.iter().filter(|flag| flag.load(Ordering::Relaxed));
        set.count() as f64 / self.0.len() as f64
    }
}

/// Squared distance of each row to its `k`-th nearest other row.
fn radii(rows: Features<'_>, k: usize) -> Vec<f64> {
    of_each_row(rows, rows, |_, distances| {
        // The row itself is the nearest, at 0; so the k-th other one has index k.
        *distances.select_nth_unstable_by(k, f64::total_cmp).1
    })
}

/// `of(i, squared distances of aᵢ to every row of b)` for every i, in order; computed on all threads.
fn of_each_row<T: Send>(
    a: Features<'_>,
    b: Features<'_>,
    of: impl Fn(usize, &mut [f64]) -> T + Sync,
) -> Vec<T> {
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
    let all = Matrix::new(&all, dim).t();
    let mut found = Vec::with_capacity(a.len());
    // Blocks of about as many rows: a single row left over would be summed in another order than the same row among others.
    let block = a.len().div_ceil(a.len().div_ceil(BLOCK));
    // [block, b]: what a row of `a` has to do with all rows of `b` lies side by side.
    let mut products = vec![0.0; b.len() * block];
    for rows in a.values().chunks(block * dim) {
        let rows = centred(rows);
        let row_squares = squares(&rows);
        let products = &mut products[..b.len() * row_squares.len()];
        multiply(products, Store::Set, 1.0, Matrix::new(&rows, dim), all);
        let first = found.len();
        let with_all = products.par_chunks_exact_mut(b.len()).zip(&row_squares);
        found.par_extend(with_all.enumerate().map(|(i, (products, row_square))| {
            for (product, square) in products.iter_mut().zip(&all_squares) {
                *product = (row_square + square - 2.0 * *product).max(0.0);
            }
            of(first + i, products)
        }));
    }
    found
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
        for (count, dim) in [(300, 2), (257, 100)] {
            let value = |i: usize| 1000.0 + (i * i % 101) as f32 / 7.0;
            let rows: Vec<f32> = (0..count * dim).map(value).collect();
            let rows = Features::new(&rows, dim).unwrap();
            let found = manifold(rows, rows, 3).unwrap();
            assert_eq!(
                (found.precision, found.recall, found.coverage),
                (1.0, 1.0, 1.0)
            );
        }
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
