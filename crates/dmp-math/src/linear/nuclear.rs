//! The sum of singular values.

use rayon::prelude::*;

use super::bidiagonal::bidiagonal;

/// Singular values found at once, as many as keep a processor's dividers busy.
const LANES: usize = 16;

/// Halvings, after which an interval as wide as the largest singular value is below its rounding.
const HALVINGS: usize = 56;

/// The sum of the singular values of `matrix`, rows of `columns` each; 0 if it has none.
///
/// Those of a matrix of two diagonals are the positive eigenvalues of one with zeros on its diagonal and the two in turn beside it (Golub & Kahan 1965),
/// and how many of these are below a number is seen from the signs of its pivots, so that each is found by halving, on its own:
/// to the rounding of the largest one, in a known time, and without anything that might not converge.
pub(crate) fn nuclear_norm(mut matrix: Vec<f64>, columns: usize) -> f64 {
    // Entries of at most 1 from here on: no square overflows.
    let scale = matrix.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    if scale == 0.0 {
        return 0.0;
    }
    matrix.iter_mut().for_each(|x| *x /= scale);
    let rows = matrix.len() / columns;
    let (diagonal, above) = if rows < columns {
        let transpose = (0..columns).flat_map(|j| matrix.iter().skip(j).step_by(columns));
        bidiagonal(&mut transpose.copied().collect::<Vec<_>>(), rows)
    } else {
        bidiagonal(&mut matrix, columns)
    };
    let count = diagonal.len();
    let pairs = diagonal.iter().zip(above.iter().chain([&0.0]));
    let beside = pairs.flat_map(|(d, e)| [d.abs(), e.abs()]);
    let beside: Vec<f64> = beside.take(2 * count - 1).collect();
    // No eigenvalue is larger than two neighbours are together (Gershgorin).
    let next = beside[1..].iter().chain([&0.0]);
    let sums = beside.iter().zip(next).map(|(a, b)| a + b);
    let bound = sums.fold(0.0, f64::max);
    let squares: Vec<f64> = beside.iter().map(|x| (x / bound).powi(2)).collect();
    let groups: Vec<f64> = (0..count.div_ceil(LANES))
        .into_par_iter()
        .map(|group| {
            let first = group * LANES;
            let found = bisect(&squares, first);
            found[..LANES.min(count - first)].iter().sum()
        })
        .collect();
    scale * bound * groups.iter().sum::<f64>()
}

/// The singular values of index `first` on, in ascending order, of a matrix that has none above 1.
fn bisect(squares: &[f64], first: usize) -> [f64; LANES] {
    let (mut low, mut width) = ([0.0; LANES], 1.0);
    for _ in 0..HALVINGS {
        width /= 2.0;
        let mut middle = low;
        middle.iter_mut().for_each(|x| *x += width);
        let below = below(squares, &middle);
        for lane in 0..LANES {
            if below[lane] <= (first + lane) as f64 {
                low[lane] = middle[lane];
            }
        }
    }
    low
}

/// How many singular values are below each of `numbers`, which are positive: the negative pivots, less those of as many eigenvalues below 0.
fn below(squares: &[f64], numbers: &[f64; LANES]) -> [f64; LANES] {
    /// Instead of no pivot; what is divided by it stays finite.
    const LEAST: f64 = 1e-290;
    let mut pivots = [0.0; LANES];
    for lane in 0..LANES {
        pivots[lane] = -numbers[lane];
    }
    let mut negative = [1.0; LANES];
    for square in squares {
        for lane in 0..LANES {
            let pivot = -numbers[lane] - square / pivots[lane];
            let pivot = if pivot.abs() < LEAST { -LEAST } else { pivot };
            negative[lane] += if pivot < 0.0 { 1.0 } else { 0.0 };
            pivots[lane] = pivot;
        }
    }
    let values = squares.len().div_ceil(2) as f64;
    negative.map(|count| count - values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::linear::product::{Matrix, Store, multiply};

    #[test]
    fn by_hand() {
        let close = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 1e-14 * expected, "{found}")
        };
        // Singular values √45 and √5.
        close(
            nuclear_norm(vec![3.0, 0.0, 4.0, 5.0], 2),
            20.0_f64.sqrt() * 2.0,
        );
        close(nuclear_norm(vec![3.0, 4.0], 2), 5.0);
        close(nuclear_norm(vec![3.0, 4.0], 1), 5.0);
        close(nuclear_norm(vec![2.0, 0.0, 0.0, 1e-8], 2), 2.0 + 1e-8);
        close(nuclear_norm(vec![3e200, 4e200], 1), 5e200);
        close(nuclear_norm(vec![3e-200, 4e-200], 2), 5e-200);
        assert_eq!(nuclear_norm(vec![0.0; 6], 3), 0.0);
        assert_eq!(nuclear_norm(vec![], 3), 0.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        // Reflections from both sides of a matrix that has its singular values on the diagonal; more rows than a piece of work, more
        // values than lanes, and the transpose too.
        #[test]
        fn rotations_leave_it_alone(
            columns in 1_usize..40, more in 0_usize..100,
            values in prop::collection::vec(0.0..3.0, 40),
            seed in prop::collection::vec(-1.0..1.0, 180),
        ) {
            let rows = columns + more;
            let reflection = |vector: &[f64]| -> Vec<f64> {
                let n = vector.len();
                let scale = 2.0 / vector.iter().map(|x| x * x).sum::<f64>();
                (0..n * n)
                    .map(|at| f64::from(u8::from(at / n == at % n)) - scale * vector[at / n] * vector[at % n])
                    .collect()
            };
            let mut matrix = vec![0.0; rows * columns];
            for i in 0..columns {
                matrix[i * columns + i] = values[i];
            }
            let (left, right) = (reflection(&seed[..rows]), reflection(&seed[rows..][..columns]));
            let mut half = matrix.clone();
            multiply(&mut half, Store::Set, 1.0, Matrix::new(&left, rows), Matrix::new(&matrix, columns));
            multiply(&mut matrix, Store::Set, 1.0, Matrix::new(&half, columns), Matrix::new(&right, columns));
            let expected: f64 = values[..columns].iter().sum();
            let found = nuclear_norm(matrix.clone(), columns);
            prop_assert!((found - expected).abs() < 1e-12 * rows as f64, "{found} {expected}");
            let transpose = (0..columns).flat_map(|j| matrix.iter().skip(j).step_by(columns));
            let found = nuclear_norm(transpose.copied().collect(), rows);
            prop_assert!((found - expected).abs() < 1e-12 * rows as f64, "{found} {expected}");
        }
    }
}
