//! Sums of a block of tiles, and how they come to their places.

use super::{Line, SIDE, Session};
use crate::avx512::mask;

/// Where a block's sums go: [`SIDE`] rows of as many values, `stride` apart.
pub(crate) struct Sums<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) stride: usize,
    /// Whether they are added to what is there.
    pub(crate) add: bool,
}

/// A block's sums, in lines one after the other.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(crate) struct Block([[f32; SIDE]; SIDE]);

impl Block {
    pub(crate) const ZERO: Self = Self([[0.0; SIDE]; SIDE]);

    /// As a place for sums.
    pub(crate) fn sums(&mut self, add: bool) -> Sums<'_> {
        Sums {
            values: self.0.as_flattened_mut(),
            stride: SIDE,
            add,
        }
    }

    /// `out` (=|+=) `left · right`, so many rows and columns of a block, rows `stride` apart, this where they are fewer.
    pub(crate) fn product<const PARTS: usize>(
        &mut self,
        session: &Session,
        depth: usize,
        [left, right]: [&[Line]; 2],
        out: &mut [f32],
        size: [usize; 3],
        add: bool,
    ) {
        let [rows, columns, stride] = size;
        if [rows, columns] == [SIDE; 2] {
            let to = Sums {
                values: out,
                stride,
                add,
            };
            return session.multiply::<PARTS>(depth, left, right, to);
        }
        session.multiply::<PARTS>(depth, left, right, self.sums(false));
        self.put(session, out, size, add);
    }

    /// `out` (=|+=) this, so many rows and columns of it, rows `stride` apart.
    pub(crate) fn put(&self, _: &Session, out: &mut [f32], size: [usize; 3], add: bool) {
        // SAFETY: the session has seen that the processor has the instructions.
        unsafe { self.put_avx512(out, size, add) };
    }

    #[target_feature(enable = "avx512f")]
    fn put_avx512(&self, out: &mut [f32], [rows, columns, stride]: [usize; 3], add: bool) {
        use std::arch::x86_64::*;
        for (sums, out) in self.0.iter().zip(out.chunks_mut(stride)).take(rows) {
            for (sums, out) in sums.chunks_exact(16).zip(out[..columns].chunks_mut(16)) {
                let lanes = mask(out.len());
                // SAFETY: sixteen sums; the mask is of the values that are there.
                unsafe {
                    let sums = _mm512_load_ps(sums.as_ptr());
                    let before = match add {
                        true => _mm512_maskz_loadu_ps(lanes, out.as_ptr()),
                        false => _mm512_setzero_ps(),
                    };
                    _mm512_mask_storeu_ps(out.as_mut_ptr(), lanes, _mm512_add_ps(before, sums));
                }
            }
        }
    }
}
