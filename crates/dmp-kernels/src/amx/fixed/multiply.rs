//! One block of a product: a tile, in five sums.

use std::arch::asm;

use super::{DIGITS, Line, Session, TILE};
use crate::avx512::mask;

/// Sums of a block's products of digits: first by first; first by second and the reverse; first by third and the reverse; second by
/// second; second by third and the reverse. Five, as a sum is ready for the next product only after those of three others:
/// so they come in an order that never takes a sum sooner.
#[derive(Debug, Default, Clone)]
#[repr(C, align(64))]
pub(super) struct Sums([[[i32; TILE]; TILE]; 5]);

/// Where a block goes.
pub(super) struct Place<'a> {
    /// From the block's first value on.
    pub(super) values: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) columns: usize,
    /// Whether it is added to what is there.
    pub(super) add: bool,
}

/// Asks for four lines behind the left factor's next two steps.
macro_rules! ahead {
    ($i:literal) => {
        concat!(
            "prefetcht0 [{a} + 9216 + 256*",
            $i,
            "]\n prefetcht0 [{a} + 9216 + 256*",
            $i,
            " + 64]\n ",
            "prefetcht0 [{a} + 9216 + 256*",
            $i,
            " + 128]\n prefetcht0 [{a} + 9216 + 256*",
            $i,
            " + 192]\n ",
        )
    };
}

impl Sums {
    /// Of `left` · `right`, a block's factors. What lies behind `left` comes nearer: the next block's, if it can be.
    ///
    /// # Panics
    /// When they are not as deep as each other: a bug of the caller, never of a user.
    pub(super) fn product(&mut self, _: &Session, left: &[Line], right: &[Line]) {
        let step = DIGITS * TILE;
        assert!(
            left.len() == right.len() && left.len().is_multiple_of(step) && !left.is_empty(),
            "factors of a block"
        );
        // SAFETY: the session has loaded the shapes of tiles, and what is multiplied with it was packed where the processor has the
        // instructions; factors have so many steps of three tiles each, and there is room for five.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "tilezero tmm4",
                "2:",
                // a₁·b₁, a₁·b₂
                "tileloadd tmm5, [{a} + {row}]",
                "tileloadd tmm6, [{b} + {row}]",
                ahead!(0), ahead!(1),
                "tdpbssd tmm0, tmm5, tmm6",
                "tileloadd tmm7, [{b} + {row} + 1024]",
                ahead!(2), ahead!(3),
                "tdpbssd tmm1, tmm5, tmm7",
                // a₃·b₁, a₃·b₂
                "tileloadd tmm5, [{a} + {row} + 2048]",
                ahead!(4), ahead!(5),
                "tdpbssd tmm2, tmm5, tmm6",
                "tdpbssd tmm4, tmm5, tmm7",
                // a₂·b₂, a₂·b₁
                "tileloadd tmm5, [{a} + {row} + 1024]",
                ahead!(6), ahead!(7),
                "tdpbssd tmm3, tmm5, tmm7",
                "tdpbssd tmm1, tmm5, tmm6",
                // a₁·b₃, a₂·b₃
                "tileloadd tmm6, [{a} + {row}]",
                "tileloadd tmm7, [{b} + {row} + 2048]",
                ahead!(8), ahead!(9),
                "tdpbssd tmm2, tmm6, tmm7",
                "tdpbssd tmm4, tmm5, tmm7",
                ahead!(10), ahead!(11),
                "add {a}, 3072",
                "add {b}, 3072",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{sums} + {row}], tmm0",
                "tilestored [{sums} + {row} + 1024], tmm1",
                "tilestored [{sums} + {row} + 2048], tmm2",
                "tilestored [{sums} + {row} + 3072], tmm3",
                "tilestored [{sums} + {row} + 4096], tmm4",
                a = inout(reg) left.as_ptr() => _,
                b = inout(reg) right.as_ptr() => _,
                steps = inout(reg) left.len() / step => _,
                sums = in(reg) self.0.as_mut_ptr(),
                row = in(reg) 64_usize,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    /// To its place, as many rows as there are units of them.
    pub(super) fn put(&self, _: &Session, units: [&[f32]; 2], to: Place<'_>) {
        // SAFETY: the session has seen that the processor has the instructions.
        unsafe { self.put_avx512(units, to) };
    }

    #[target_feature(enable = "avx512f")]
    fn put_avx512(&self, [rows, columns]: [&[f32]; 2], to: Place<'_>) {
        use std::arch::x86_64::*;
        let lanes = mask(to.columns);
        let columns = &columns[..TILE];
        // SAFETY: sixteen of them.
        let columns = unsafe { _mm512_loadu_ps(columns.as_ptr()) };
        let (second, third) = (_mm512_set1_ps(1.0 / 256.0), _mm512_set1_ps(1.0 / 65536.0));
        let places = to.values.chunks_mut(to.stride);
        for (row, (unit, place)) in rows.iter().zip(places).enumerate() {
            let place = &mut place[..to.columns];
            let [a, b, c, d, e] = &self.0;
            // SAFETY: sixteen sums each, in lines; the mask is of the values that are there.
            unsafe {
                let load =
                    |sums: &[[i32; TILE]; TILE]| _mm512_load_si512(sums[row].as_ptr().cast());
                let low = _mm512_add_epi32(load(c), load(d));
                let low = _mm512_add_epi32(low, _mm512_srai_epi32::<8>(load(e)));
                let sum =
                    _mm512_fmadd_ps(_mm512_cvtepi32_ps(low), third, _mm512_cvtepi32_ps(load(a)));
                let sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(load(b)), second, sum);
                let sum = _mm512_mul_ps(sum, _mm512_set1_ps(*unit));
                let before = match to.add {
                    true => _mm512_maskz_loadu_ps(lanes, place.as_ptr()),
                    false => _mm512_setzero_ps(),
                };
                let sum = _mm512_fmadd_ps(sum, columns, before);
                _mm512_mask_storeu_ps(place.as_mut_ptr(), lanes, sum);
            }
        }
    }
}
