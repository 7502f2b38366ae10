//! Products of matrices on all threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Rows below which halving costs more than it brings.
const LEAST: usize = 128;

/// `to` ← α·lhs·rhs, or `to` += it, on the threads of rayon's pool: the rows of `to` are halved among them.
pub(crate) fn multiply(
    to: MatMut<'_, f64>,
    accum: Accum,
    lhs: MatRef<'_, f64>,
    rhs: MatRef<'_, f64>,
    alpha: f64,
) {
    share(rayon::current_num_threads(), to, accum, lhs, rhs, alpha);
}

fn share(
    threads: usize,
    to: MatMut<'_, f64>,
    accum: Accum,
    lhs: MatRef<'_, f64>,
    rhs: MatRef<'_, f64>,
    alpha: f64,
) {
    let rows = to.nrows();
    if threads < 2 || rows < 2 * LEAST {
        matmul(to, accum, lhs, rhs, alpha, Par::Seq);
        return;
    }
    let (first, second) = to.split_at_row_mut(rows / 2);
    let (above, below) = lhs.split_at_row(rows / 2);
    rayon::join(
        || share(threads / 2, first, accum, above, rhs, alpha),
        || share(threads - threads / 2, second, accum, below, rhs, alpha),
    );
}

#[cfg(test)]
mod tests {
    use faer::Mat;

    use super::*;

    /// Whole numbers, so that every order of the sums gives the same; an odd number of rows, for more threads than halves.
    #[test]
    fn halves_make_the_whole() {
        let lhs = Mat::from_fn(1001, 7, |i, k| ((i * 5 + k * 3) % 11) as f64 - 5.0);
        let rhs = Mat::from_fn(7, 9, |k, j| ((k * 2 + j * 7) % 13) as f64 - 6.0);
        let expected = &lhs * &rhs;
        for threads in [1, 2, 3, 64] {
            let mut to = Mat::from_fn(1001, 9, |_, _| f64::NAN);
            let (l, r) = (lhs.as_ref(), rhs.as_ref());
            share(threads, to.as_mut(), Accum::Replace, l, r, 1.0);
            assert_eq!(to, expected, "{threads} threads");
            share(threads, to.as_mut(), Accum::Add, l, r, -1.0);
            assert_eq!(to, Mat::<f64>::zeros(1001, 9), "{threads} threads");
        }
    }
}
