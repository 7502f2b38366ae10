//! Products of matrices, through the `gemm` crate.

use gemm::{Parallelism, gemm};

/// Rows of which threads take half each.
const SHARED: usize = 256;

/// Rows from which on half of a square is not computed in vain.
const HALVED: usize = 64;

/// A matrix in a row-major slice, or its transpose.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    values: &'a [f64],
    rows: usize,
    columns: usize,
    /// Values between a row and the next one, and between a column and the next one.
    steps: (usize, usize),
}

impl<'a> Matrix<'a> {
    /// `values` as rows of `columns` each.
    pub(crate) fn new(values: &'a [f64], columns: usize) -> Self {
        Self {
            values,
            rows: values.len() / columns,
            columns,
            steps: (columns, 1),
        }
    }

    /// The transpose, without moving anything.
    pub(crate) fn t(self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            steps: (self.steps.1, self.steps.0),
        }
    }

    /// The first `count` rows and the others.
    fn split(self, count: usize) -> (Self, Self) {
        let of = |first: usize, rows: usize| Self {
            values: &self.values[first * self.steps.0..],
            rows,
            ..self
        };
        (of(0, count), of(count, self.rows - count))
    }
}

/// What becomes of the destination's old values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// Overwritten.
    Set,
    /// Added to.
    Add,
}

/// `to` (=|+=) `scale`·`lhs`·`rhs`, of as many columns as `rhs`, on the threads of rayon's pool.
pub(crate) fn multiply(to: &mut [f64], store: Store, scale: f64, lhs: Matrix<'_>, rhs: Matrix<'_>) {
    share(
        rayon::current_num_threads(),
        to,
        rhs.columns,
        store,
        scale,
        lhs,
        rhs,
    );
}

/// `scale`·`rows`·`rows`ᵀ into `to` where its column is less than its row, on this thread; other entries may be overwritten.
pub(crate) fn below_diagonal(to: &mut [f64], scale: f64, rows: Matrix<'_>) {
    triangle(to, rows.rows, scale, rows);
}

fn triangle(to: &mut [f64], stride: usize, scale: f64, rows: Matrix<'_>) {
    if rows.rows < HALVED {
        return share(1, to, stride, Store::Set, scale, rows, rows.t());
    }
    let half = rows.rows / 2;
    let (above, below) = rows.split(half);
    let (top, bottom) = to.split_at_mut(half * stride);
    triangle(top, stride, scale, above);
    share(1, bottom, stride, Store::Set, scale, below, above.t());
    triangle(&mut bottom[half..], stride, scale, below);
}

/// Into rows `stride` apart; the rows of `to` are halved among threads.
fn share(
    threads: usize,
    to: &mut [f64],
    stride: usize,
    store: Store,
    scale: f64,
    lhs: Matrix<'_>,
    rhs: Matrix<'_>,
) {
    let (m, n, k) = (lhs.rows, rhs.columns, lhs.columns);
    // A product of two columns or fewer is summed in another order if it is small: halves must not be.
    if threads > 1 && m >= SHARED && n > 2 {
        let (above, below) = lhs.split(m / 2);
        let (top, bottom) = to.split_at_mut(m / 2 * stride);
        let half = threads / 2;
        rayon::join(
            || share(half, top, stride, store, scale, above, rhs),
            || share(threads - half, bottom, stride, store, scale, below, rhs),
        );
        return;
    }
    let last = |rows: usize, columns: usize, steps: (usize, usize)| {
        rows.saturating_sub(1) * steps.0 + columns.saturating_sub(1) * steps.1
    };
    assert_eq!(k, rhs.rows, "inner sizes differ");
    assert!(
        m * n == 0 || last(m, n, (stride, 1)) < to.len(),
        "product exceeds its slice"
    );
    for side in [lhs, rhs] {
        assert!(
            side.rows * side.columns == 0
                || last(side.rows, side.columns, side.steps) < side.values.len(),
            "matrix exceeds its slice"
        );
    }
    // SAFETY: the assertions keep every access inside the slices; `to` is borrowed mutably and so overlaps neither operand.
    unsafe {
        gemm(
            m,
            n,
            k,
            to.as_mut_ptr(),
            1,
            stride as isize,
            store == Store::Add,
            lhs.values.as_ptr(),
            lhs.steps.1 as isize,
            lhs.steps.0 as isize,
            rhs.values.as_ptr(),
            rhs.steps.1 as isize,
            rhs.steps.0 as isize,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(rows: usize, columns: usize, of: impl Fn(usize, usize) -> usize) -> Vec<f64> {
        (0..rows * columns)
            .map(|at| of(at / columns, at % columns) as f64 - 5.0)
            .collect()
    }

    /// Whole numbers, so that every order of the sums gives the same; an odd number of rows, for more threads than halves.
    #[test]
    fn halves_make_the_whole() {
        let (m, n, k) = (1001, 9, 7);
        let lhs = whole(m, k, |i, l| (i * 5 + l * 3) % 11);
        let rhs = whole(n, k, |j, l| (l * 2 + j * 7) % 13);
        let at =
            |i: usize, j: usize| -> f64 { (0..k).map(|l| lhs[i * k + l] * rhs[j * k + l]).sum() };
        let expected: Vec<f64> = (0..m * n).map(|x| at(x / n, x % n)).collect();
        let (l, r) = (Matrix::new(&lhs, k), Matrix::new(&rhs, k).t());
        for threads in [1, 2, 3, 64] {
            let mut to = vec![f64::NAN; m * n];
            share(threads, &mut to, n, Store::Set, 1.0, l, r);
            assert_eq!(to, expected, "{threads} threads");
            share(threads, &mut to, n, Store::Add, -1.0, l, r);
            assert_eq!(to, vec![0.0; m * n], "{threads} threads");
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let root = |at: usize| (at as f64 % 97.0).sqrt();
        for n in [1, 2, 3, 64] {
            let (m, k) = (257, 300);
            let lhs: Vec<f64> = (0..m * k).map(root).collect();
            let rhs: Vec<f64> = (0..n * k).map(|at| root(at * 7)).collect();
            let (l, r) = (Matrix::new(&lhs, k), Matrix::new(&rhs, k).t());
            let product = |threads| {
                let mut to = vec![0.0; m * n];
                share(threads, &mut to, n, Store::Set, 1.0, l, r);
                to
            };
            assert_eq!(product(1), product(2), "{n} columns");
        }
    }

    #[test]
    fn a_transpose_on_the_left() {
        let rows = whole(300, 2, |i, j| i + j);
        let mut to = vec![0.0; 4];
        let view = Matrix::new(&rows, 2);
        multiply(&mut to, Store::Set, 2.0, view.t(), view);
        let at = |i: usize, j: usize| -> f64 { rows.chunks(2).map(|r| 2.0 * r[i] * r[j]).sum() };
        assert_eq!(to, [at(0, 0), at(0, 1), at(1, 0), at(1, 1)]);
    }

    #[test]
    fn below_the_diagonal_is_what_the_product_has_there() {
        let (n, k) = (517, 3);
        let rows = whole(n, k, |i, l| (i * 5 + l * 3) % 11);
        let view = Matrix::new(&rows, k);
        let (mut all, mut below) = (vec![0.0; n * n], vec![f64::NAN; n * n]);
        multiply(&mut all, Store::Set, 0.5, view, view.t());
        below_diagonal(&mut below, 0.5, view);
        for i in 0..n {
            assert_eq!(below[i * n..][..i], all[i * n..][..i], "row {i}");
        }
    }
}
