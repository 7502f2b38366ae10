//! Matrix products over row-major slices, through the `gemm` crate.

use gemm::{Parallelism, gemm};

use crate::profile::Kernel;

/// A matrix in a slice: `rows × columns`, element (i, j) at `i·row_stride + j·column_stride`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// A dense row-major matrix.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// Rows `row_stride` apart.
    ///
    /// # Panics
    /// When the slice is too short for that: a bug of the caller, never of a user.
    pub fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(
            rows == 0 || (rows - 1) * row_stride + columns <= data.len(),
            "matrix exceeds its slice"
        );
        Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride: 1,
        }
    }

    /// The transposed matrix, without moving anything.
    pub fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

static GEMM: Kernel = Kernel::new("gemm");

/// Threads that share a product.
pub(crate) fn workers(threads: Parallelism) -> usize {
    match threads {
        Parallelism::None => 1,
        Parallelism::Rayon(0) => rayon::current_num_threads(),
        Parallelism::Rayon(count) => count,
    }
}

/// What becomes of the destination's old values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Overwritten.
    Set,
    /// Added to.
    Add,
}

/// `out (=|+=) scale · a · b` into rows `row_stride` apart.
///
/// # Panics
/// When shapes do not fit: a bug of the caller, never of a user.
pub fn matmul(
    out: &mut [f32],
    row_stride: usize,
    store: Store,
    scale: f32,
    a: View<'_>,
    b: View<'_>,
    threads: Parallelism,
) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert_eq!(k, b.rows, "inner sizes differ");
    assert!(
        m == 0 || (m - 1) * row_stride + n <= out.len(),
        "product exceeds its slice"
    );
    GEMM.time(workers(threads), || {
        // SAFETY: `View` and the assertion above keep every access inside the slices; `out` is borrowed
        // mutably and so overlaps neither operand.
        unsafe {
            gemm(
                m,
                n,
                k,
                out.as_mut_ptr(),
                1,
                row_stride as isize,
                store == Store::Add,
                a.data.as_ptr(),
                a.column_stride as isize,
                a.row_stride as isize,
                b.data.as_ptr(),
                b.column_stride as isize,
                b.row_stride as isize,
                1.0,
                scale,
                false,
                false,
                false,
                threads,
            );
        }
    });
}

/// `out` ← `a · weight`, all rows dense; `a` has as many columns as the weight has rows.
pub(crate) fn linear(a: &[f32], weight: View<'_>, out: &mut [f32], threads: Parallelism) {
    let (inner, columns) = (weight.rows, weight.columns);
    let a = View::new(a, a.len() / inner.max(1), inner);
    matmul(out, columns, Store::Set, 1.0, a, weight, threads);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_views() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]; // 2×3
        let b = [1.0, 0.0, 2.0, 1.0, 0.0, 3.0]; // 3×2
        let mut out = [1.0; 4];
        matmul(
            &mut out,
            2,
            Store::Add,
            2.0,
            View::new(&a, 2, 3),
            View::new(&b, 3, 2),
            Parallelism::None,
        );
        assert_eq!(out, [11.0, 23.0, 29.0, 47.0]);
        // aᵀ·a, every other column of a wider destination.
        let mut out = [9.0; 12];
        matmul(
            &mut out,
            4,
            Store::Set,
            1.0,
            View::new(&a, 2, 3).t(),
            View::new(&a, 2, 3),
            Parallelism::None,
        );
        assert_eq!(
            out,
            [
                17.0, 22.0, 27.0, 9.0, 22.0, 29.0, 36.0, 9.0, 27.0, 36.0, 45.0, 9.0
            ]
        );
    }
}
