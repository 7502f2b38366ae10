//! The product on the matrix unit.

use std::ops::Range;

use crate::amx::{self, Ahead, Line, SIDE, columns, lines, transposed};

/// A right factor `[inner, columns]`: for each block of [`SIDE`] columns, the tiles of its whole depth.
#[derive(Debug, Clone)]
pub(super) struct Tiles {
    inner: usize,
    columns: usize,
    lines: Vec<Line>,
}

impl Tiles {
    /// From row-major values `[inner, columns]`.
    ///
    /// # Panics
    /// Where there is no matrix unit: a bug of the caller, never of a user.
    pub(super) fn pack(values: &[f32], [inner, wide]: [usize; 2]) -> Self {
        Self::fill([inner, wide], |first, count, lines| {
            // SAFETY: `fill` has seen that the processor has the instructions.
            unsafe { columns::<1>(&values[first..], wide, count, inner, lines) };
        })
    }

    /// From row-major values `[columns, inner]`.
    ///
    /// # Panics
    /// As [`Self::pack`].
    pub(super) fn pack_transposed(values: &[f32], [wide, inner]: [usize; 2]) -> Self {
        Self::fill([inner, wide], |first, count, lines| {
            // SAFETY: as above.
            unsafe { transposed::<1>(&values[first * inner..], inner, count, inner, lines) };
        })
    }

    /// `pack` makes the tiles of so many columns from the first on.
    fn fill([inner, columns]: [usize; 2], pack: impl Fn(usize, usize, &mut [Line])) -> Self {
        assert!(crate::amx::available(), "tiles are for the matrix unit");
        let block = lines(inner, 1);
        let mut tiles = vec![Line::default(); columns.div_ceil(SIDE) * block];
        if block > 0 {
            for (first, tiles) in (0..columns)
                .step_by(SIDE)
                .zip(tiles.chunks_exact_mut(block))
            {
                pack(first, SIDE.min(columns - first), tiles);
            }
        }
        Self {
            inner,
            columns,
            lines: tiles,
        }
    }

    /// Every pair of values.
    pub(super) fn pairs(&self) -> impl Iterator<Item = u32> {
        self.lines.iter().flat_map(|line| line.0)
    }

    /// `out` ← `a` · the factor.
    pub(super) fn product(&self, a: &[f32], out: &mut [f32]) {
        amx::product(a, self, [self.inner, self.columns], out);
    }
}

impl amx::Right<1> for Tiles {
    fn tiles<'a>(&'a self, first: usize, deep: Range<usize>, _: &'a mut [Line]) -> &'a [Line] {
        let block = &self.lines[first / SIDE * lines(self.inner, 1)..];
        &block[lines(deep.start, 1)..][..lines(deep.len(), 1)]
    }

    fn ahead(&self, first: usize, deep: Range<usize>) -> Ahead {
        let next = first / SIDE * lines(self.inner, 1) + lines(deep.start, 1);
        Ahead {
            start: self.lines.as_ptr().wrapping_add(next).cast(),
            rows: 1,
            width: size_of::<Line>() * lines(deep.len(), 1),
            stride: 0,
        }
    }
}
