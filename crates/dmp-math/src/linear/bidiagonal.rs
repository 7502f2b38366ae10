//! A matrix with the same singular values and two diagonals, by reflections (Golub & Kahan 1965). The time is that of reading what
//! is left of the matrix, so that the two updates of a step are made in the next one's first pass (as Howell et al. 2008 have it).

use rayon::prelude::*;

/// Rows that are one piece of work; sums are made piece by piece, whatever the number of threads.
const ROWS: usize = 64;

/// What the matrix is to be less than what is stored: u·wᵀ + z·vᵀ, from the row and the column on that come next.
struct Pending {
    u: Vec<f64>,
    w: Vec<f64>,
    z: Vec<f64>,
    v: Vec<f64>,
}

/// The diagonal and the one above it, `[n]` and `[n − 1]`, of a matrix with the singular values of `matrix`, which is `[m, n]`
/// with m ≥ n ≥ 1, and is used up.
pub(super) fn bidiagonal(matrix: &mut [f64], columns: usize) -> (Vec<f64>, Vec<f64>) {
    let rows = matrix.len() / columns;
    assert!(rows >= columns, "at least as high as wide");
    let (mut diagonal, mut above) = (Vec::new(), Vec::new());
    let zeros = |count| vec![0.0; count];
    let mut pending = Pending {
        u: zeros(rows),
        w: zeros(columns),
        z: zeros(rows),
        v: zeros(columns),
    };
    // The next column, from the diagonal downwards, with nothing pending.
    let mut column: Vec<f64> = matrix.iter().step_by(columns).copied().collect();
    for k in 0..columns {
        let down = Reflection::of(column);
        diagonal.push(down.onto);
        if k + 1 == columns {
            break;
        }
        let left = &mut matrix[k * columns..];
        let mut w = update(left, columns, &pending, &down.direction);
        w.iter_mut().for_each(|sum| *sum *= down.scale);

        let row = left[k + 1..columns].iter().zip(&w);
        let right = Reflection::of(row.map(|(x, w)| x - w).collect());
        above.push(right.onto);
        let (u, v) = (down.direction[1..].to_vec(), right.direction);
        let shared = dot(&w, &v);
        let pieces = left[columns..].par_chunks(ROWS * columns);
        let (z, next) = pieces
            .zip(u.par_chunks(ROWS))
            .flat_map_iter(|(rows, u)| {
                rows.chunks_exact(columns).zip(u).map(|(row, u)| {
                    let row = &row[k + 1..];
                    let z = right.scale * (dot(row, &v) - u * shared);
                    (z, row[0] - u * w[0] - z * v[0])
                })
            })
            .unzip();
        pending = Pending { u, w, z, v };
        column = next;
    }
    (diagonal, above)
}

/// Takes what is pending away from all columns but the first, and gives the sums of these over the rows, each row times its entry
/// of `weights`. The matrix's rows are `stride` long and end with the columns that are pending.
fn update(rows: &mut [f64], stride: usize, pending: &Pending, weights: &[f64]) -> Vec<f64> {
    let first = stride - pending.w.len() + 1;
    let (w, v) = (&pending.w[1..], &pending.v[1..]);
    let pieces: Vec<Vec<f64>> = rows
        .par_chunks_mut(ROWS * stride)
        .zip(pending.u.par_chunks(ROWS))
        .zip(pending.z.par_chunks(ROWS))
        .zip(weights.par_chunks(ROWS))
        .map(|(((rows, u), z), weights)| {
            let mut sums = vec![0.0; w.len()];
            let factors = u.iter().zip(z).zip(weights);
            for (row, ((u, z), weight)) in rows.chunks_exact_mut(stride).zip(factors) {
                let entries = row[first..].iter_mut().zip(w).zip(v).zip(&mut sums);
                for (((x, w), v), sum) in entries {
                    *x -= u * w + z * v;
                    *sum += weight * *x;
                }
            }
            sums
        })
        .collect();
    let mut sums = vec![0.0; w.len()];
    for piece in pieces {
        sums.iter_mut().zip(piece).for_each(|(sum, x)| *sum += x);
    }
    sums
}

/// I − `scale` · d dᵀ, d the direction, which takes a vector to (`onto`, 0, 0, …).
struct Reflection {
    /// Its first entry is 1.
    direction: Vec<f64>,
    scale: f64,
    onto: f64,
}

impl Reflection {
    /// Of this vector, whose squares do not overflow.
    fn of(mut vector: Vec<f64>) -> Self {
        let first = vector[0];
        let rest = dot(&vector[1..], &vector[1..]);
        vector[0] = 1.0;
        if rest == 0.0 {
            return Self {
                direction: vector,
                scale: 0.0,
                onto: first,
            };
        }
        let onto = -(first.powi(2) + rest).sqrt().copysign(first);
        let by = 1.0 / (first - onto);
        vector[1..].iter_mut().for_each(|x| *x *= by);
        Self {
            direction: vector,
            scale: (onto - first) / onto,
            onto,
        }
    }
}

/// The sum of products, as eight sums that a compiler can make at once.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the two diagonals have the norms and, of a square matrix, the determinant that the matrix has.
    #[test]
    fn keeps_what_rotations_keep() {
        let matrix = [2.0, 1.0, 0.5, -1.0, 3.0, 0.25, 4.0, -2.0, 1.5];
        let (d, e) = bidiagonal(&mut matrix.clone(), 3);
        let squares = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
        assert!((squares(&d) + squares(&e) - squares(&matrix)).abs() < 1e-12);
        // 2·(4.5 + 0.5) − 1·(−1.5 − 1) + 0.5·(2 − 12)
        assert!((d.iter().product::<f64>().abs() - 7.5).abs() < 1e-12);
        assert!(e.iter().all(|x| x.abs() > 0.1), "nothing was to do: {e:?}");
    }

    #[test]
    fn a_column_is_its_length() {
        assert_eq!(bidiagonal(&mut [3.0, 4.0], 1), (vec![-5.0], vec![]));
        assert_eq!(bidiagonal(&mut [0.0, 0.0], 1), (vec![0.0], vec![]));
    }
}
