//! The product with AVX-512-BF16.

use std::arch::x86_64::*;

use super::panels::Panels;
use crate::avx512::mask;

/// Whether the processor has the instructions; looked up once.
pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
}

/// `out` ← `a · b`, `a` in pairs.
///
/// # Panics
/// When shapes do not fit: a bug of the caller, never of a user.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn product(a: &[u32], b: &Panels, out: &mut [f32]) {
    let (depth, columns) = (b.pairs(), b.columns());
    let rows = out.len() / columns;
    assert_eq!(a.len(), rows * depth, "left factor");
    assert_eq!(out.len(), rows * columns, "product");
    for (first, width, panel) in b.iter() {
        assert_eq!(panel.len(), width * depth, "panel");
        let real = width.min(columns - first);
        let last = mask(real);
        // SAFETY: `first` is a column of the product.
        let tiles = Tiles {
            a: a.as_ptr(),
            depth,
            b: panel.as_ptr(),
            out: unsafe { out.as_mut_ptr().add(first) },
            columns,
            last,
        };
        // SAFETY: as asserted, `a` has `rows` rows of `depth` pairs, `out` as many of `columns` columns, and the panel `depth`
        // rows of `width` pairs; the last vector is stored to its real columns only.
        unsafe {
            match width / 16 {
                1 => tiles.down::<1>(rows),
                2 => tiles.down::<2>(rows),
                3 => tiles.down::<3>(rows),
                _ => tiles.down::<4>(rows),
            }
        }
    }
}

/// One panel's share of a product.
struct Tiles {
    a: *const u32,
    /// Pairs of a row of `a`, and rows of the panel.
    depth: usize,
    b: *const u32,
    out: *mut f32,
    columns: usize,
    last: __mmask16,
}

impl Tiles {
    /// All rows, `V` vectors wide.
    ///
    /// # Safety
    /// The pointers lead to `rows` rows.
    #[target_feature(enable = "avx512f,avx512bf16")]
    #[inline]
    unsafe fn down<const V: usize>(&self, rows: usize) {
        // SAFETY: never past `rows`.
        unsafe {
            let mut row = 0;
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

    /// `R` rows from `row` on: 24 sums at most, enough to hide the latency of the instruction.
    ///
    /// # Safety
    /// As for [`Self::down`].
    #[target_feature(enable = "avx512f,avx512bf16")]
    #[inline]
    unsafe fn tile<const R: usize, const V: usize>(&self, row: usize) {
        // SAFETY: rows, pairs and columns are inside, by the caller's word.
        unsafe {
            let bf16 = |x: __m512i| std::mem::transmute::<__m512i, __m512bh>(x);
            let mut sums = [[_mm512_setzero_ps(); V]; R];
            let a = self.a.add(row * self.depth);
            for k in 0..self.depth {
                let b = self.b.add(k * 16 * V);
                let vectors: [__m512bh; V] =
                    std::array::from_fn(|v| bf16(_mm512_loadu_si512(b.add(16 * v).cast())));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let pair = bf16(_mm512_set1_epi32(*a.add(r * self.depth + k) as i32));
                    for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                        *sum = _mm512_dpbf16_ps(*sum, pair, vector);
                    }
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                let out = self.out.add((row + r) * self.columns);
                for (v, sum) in sums.into_iter().enumerate() {
                    let lanes = if v + 1 < V { !0 } else { self.last };
                    _mm512_mask_storeu_ps(out.add(16 * v), lanes, sum);
                }
            }
        }
    }
}
