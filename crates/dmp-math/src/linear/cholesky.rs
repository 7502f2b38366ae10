//! Cholesky's factor of a positive semidefinite matrix of any rank (Higham, *Accuracy and Stability*, §10.3).

use super::product::{Matrix, Store, multiply};

/// Rows of the factor between two updates of all that is left.
const BLOCK: usize = 64;

/// R with RᵀR = `matrix`, `[r, d]` row-major, r the numerical rank: `matrix` is symmetric, `[d, d]`, and positive semidefinite
/// up to rounding or noise.
///
/// Each row takes away the largest diagonal entry that is left. Rows of indices taken before are zero at them, so that R is
/// triangular but for the order of its columns, which stay where they are.
///
/// What is left is not factored when no diagonal entry exceeds d · ε · the largest one, which is rounding, nor when one is as far below zero
/// as any is above, which is the noise of a matrix that was stored in f32 or worse.
pub(crate) fn factor(mut matrix: Vec<f64>, dim: usize) -> Vec<f64> {
    assert_eq!(matrix.len(), dim * dim, "a square matrix");
    let mut left: Vec<f64> = (0..dim).map(|i| matrix[i * dim + i]).collect();
    let noise = dim as f64 * f64::EPSILON * left.iter().copied().fold(0.0, f64::max);
    let mut rows: Vec<f64> = Vec::new();
    // First row of the factor that `matrix` is not rid of yet.
    let mut first = 0;
    while let Some(pivot) = largest(&left).filter(|&pivot| left[pivot] > noise) {
        let taken = |left: f64| left == f64::NEG_INFINITY;
        if left.iter().any(|&l| !taken(l) && l <= -left[pivot]) {
            break;
        }
        let mut row = matrix[pivot * dim..][..dim].to_vec();
        for earlier in rows[first * dim..].chunks_exact(dim) {
            let share = earlier[pivot];
            row.iter_mut()
                .zip(earlier)
                .for_each(|(value, &e)| *value -= share * e);
        }
        let root = left[pivot].sqrt();
        for (value, left) in row.iter_mut().zip(&mut left) {
            // Taken before: zero but for rounding.
            *value = if taken(*left) { 0.0 } else { *value / root };
            *left -= value.powi(2);
        }
        row[pivot] = root;
        left[pivot] = f64::NEG_INFINITY;
        rows.extend(row);
        if rows.len() == (first + BLOCK) * dim {
            let block = Matrix::new(&rows[first * dim..], dim);
            multiply(&mut matrix, Store::Add, -1.0, block.t(), block);
            first += BLOCK;
        }
    }
    rows
}

/// Where the largest value is, the first if there are several.
fn largest(values: &[f64]) -> Option<usize> {
    (0..values.len()).reduce(|best, i| if values[i] > values[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        // Up to two blocks, and ranks from none to all.
        #[test]
        fn its_square_is_the_matrix(
            dim in 10_usize..150, rank in 0_usize..150,
            seed in prop::collection::vec(-2.0..2.0, 150 * 150),
        ) {
            let rank = rank.min(dim);
            let rows = &seed[..rank * dim];
            let square = |rows: &[f64]| {
                let mut to = vec![0.0; dim * dim];
                let view = Matrix::new(rows, dim);
                multiply(&mut to, Store::Set, 1.0, view.t(), view);
                to
            };
            let matrix = square(rows);
            let found = factor(matrix.clone(), dim);
            prop_assert!(found.len() / dim <= rank, "rank {}, not {rank}", found.len() / dim);
            let scale = matrix.iter().copied().fold(0.0, f64::max);
            for (a, b) in square(&found).iter().zip(&matrix) {
                prop_assert!((a - b).abs() <= 1e-12 * scale, "{a} {b}");
            }
        }
    }

    #[test]
    fn by_hand() {
        // The second diagonal entry is the larger one.
        assert_eq!(factor(vec![1.0, 2.0, 2.0, 4.0], 2), [1.0, 2.0]);
        assert_eq!(factor(vec![5.0, 2.0, 2.0, 4.0], 2).len(), 4);
        assert!(factor(vec![0.0; 9], 3).is_empty());
        assert!(factor(vec![], 0).is_empty());
        // The third entry's noise is as large as what is left of the second.
        let noisy = vec![1.0, 0.0, 0.0, 0.0, 1e-8, 0.0, 0.0, 0.0, -1e-8];
        assert_eq!(factor(noisy, 3), [1.0, 0.0, 0.0]);
    }
}
