//! Products of matrices in tiles of registers: small ones, or blocks of large ones.

use std::arch::x86_64::*;

use super::pack::PANEL;

/// The left factor: element (i, k) at `i·row + k·column`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    values: &'a [f32],
    row: usize,
    column: usize,
}

impl<'a> Left<'a> {
    /// Rows `stride` apart.
    pub(crate) fn rows(values: &'a [f32], stride: usize) -> Self {
        Self {
            values,
            row: stride,
            column: 1,
        }
    }

    /// The transpose of rows `stride` apart.
    pub(crate) fn columns(values: &'a [f32], stride: usize) -> Self {
        Self {
            values,
            row: 1,
            column: stride,
        }
    }
}

/// The right factor, its rows `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    values: &'a [f32],
    stride: usize,
}

impl<'a> Right<'a> {
    pub(crate) fn rows(values: &'a [f32], stride: usize) -> Self {
        Self { values, stride }
    }
}

/// Where the product goes, its rows `stride` apart.
pub(crate) struct Out<'a> {
    values: &'a mut [f32],
    stride: usize,
    /// Whether it is added to what is there.
    sum: bool,
}

impl<'a> Out<'a> {
    pub(crate) fn new(values: &'a mut [f32], stride: usize, sum: bool) -> Self {
        Self {
            values,
            stride,
            sum,
        }
    }

    pub(crate) fn set(values: &'a mut [f32], stride: usize) -> Self {
        Self::new(values, stride, false)
    }
}

/// `out (=|+=) a · b`, `[rows, inner] · [inner, columns]`.
///
/// # Panics
/// When shapes do not fit: a bug of the caller, never of a user.
#[target_feature(enable = "avx512f")]
pub(crate) fn product([rows, inner, columns]: [usize; 3], a: Left<'_>, b: Right<'_>, out: Out<'_>) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(
        inner > 0 && (rows - 1) * a.row + (inner - 1) * a.column < a.values.len(),
        "left factor exceeds its slice"
    );
    assert!(
        (inner - 1) * b.stride + columns <= b.values.len(),
        "right factor exceeds its slice"
    );
    assert!(
        (rows - 1) * out.stride + columns <= out.values.len(),
        "product exceeds its slice"
    );
    let destination = out.values.as_mut_ptr();
    for first in (0..columns).step_by(PANEL) {
        let width = PANEL.min(columns - first);
        // SAFETY: within the slices, as was just checked.
        let tiles = unsafe {
            Tiles {
                a: a.values.as_ptr(),
                a_row: a.row,
                a_column: a.column,
                inner,
                b: b.values.as_ptr().add(first),
                b_stride: b.stride,
                out: destination.add(first),
                out_stride: out.stride,
                last: mask(width),
                sum: out.sum,
            }
        };
        // SAFETY: likewise; tiles touch `rows` rows and `width` columns.
        unsafe {
            match width.div_ceil(16) {
                1 => tiles.down::<1>(rows),
                2 => tiles.down::<2>(rows),
                3 => tiles.down::<3>(rows),
                _ => tiles.down::<4>(rows),
            }
        }
    }
}

/// Lanes of the last vector of so many values.
pub(crate) fn mask(values: usize) -> __mmask16 {
    match values % 16 {
        0 => !0,
        rest => (1 << rest) - 1,
    }
}

/// One panel of columns of a product, from some row on.
#[derive(Clone, Copy)]
struct Tiles {
    a: *const f32,
    a_row: usize,
    a_column: usize,
    inner: usize,
    b: *const f32,
    b_stride: usize,
    out: *mut f32,
    out_stride: usize,
    last: __mmask16,
    sum: bool,
}

impl Tiles {
    /// All rows, `V` vectors wide.
    ///
    /// # Safety
    /// `rows` rows of that width are inside what the pointers point into.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn down<const V: usize>(&self, rows: usize) {
        // SAFETY: never past `rows`.
        unsafe {
            let mut row = 0;
            // Narrow tiles are high ones: two dozen sums hide the latency of the multiply-add.
            while V <= 2 && rows - row >= 12 {
                self.tile::<12, V>(row);
                row += 12;
            }
            while rows - row >= 6 {
                self.tile::<6, V>(row);
                row += 6;
            }
            match rows - row {
                5 => self.tile::<5, V>(row),
                4 => self.tile::<4, V>(row),
                3 => self.tile::<3, V>(row),
                2 => self.tile::<2, V>(row),
                1 => self.tile::<1, V>(row),
                _ => {}
            }
        }
    }

    /// `R` rows from `row` on, `V` vectors wide.
    ///
    /// # Safety
    /// As for [`Self::down`].
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn tile<const R: usize, const V: usize>(&self, row: usize) {
        // SAFETY: rows and columns are inside; the last vector is masked to its lanes.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); V]; R];
            let (mut a, mut b) = (self.a.add(row * self.a_row), self.b);
            for k in 0..self.inner {
                let vectors: [__m512; V] = std::array::from_fn(|v| match v + 1 < V {
                    true => _mm512_loadu_ps(b.add(16 * v)),
                    false => _mm512_maskz_loadu_ps(self.last, b.add(16 * v)),
                });
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*a.add(r * self.a_row));
                    for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                        *sum = _mm512_fmadd_ps(x, vector, *sum);
                    }
                }
                // Not past the last: what lies beyond it may be another allocation.
                if k + 1 < self.inner {
                    b = b.add(self.b_stride);
                    a = a.add(self.a_column);
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                let out = self.out.add((row + r) * self.out_stride);
                for (v, sum) in sums.into_iter().enumerate() {
                    let lanes = if v + 1 < V { !0 } else { self.last };
                    let out = out.add(16 * v);
                    let before = match self.sum {
                        true => _mm512_maskz_loadu_ps(lanes, out),
                        false => _mm512_setzero_ps(),
                    };
                    _mm512_mask_storeu_ps(out, lanes, _mm512_add_ps(sum, before));
                }
            }
        }
    }
}
