//! Products with frozen weights in f32, with AVX2.
//!
//! As with AVX-512 one copy of a weight serves both directions; the backward one transposes a block of its panels at a time.

use std::arch::x86_64::*;
use std::cell::RefCell;
use std::ops::Range;

use super::Direction;
use crate::avx2::{LANES, Line, Out, Rows, TALL, WIDE, ask, product};
use crate::profile::Kernel;
use crate::simd::{Level, level};

/// Values of a row from which on products are faster than by the `gemm` crate: the demo's backbone, of 64 and 256, draws images no faster
/// with panels, perhaps slower.
const LEAST: usize = 256;

/// Values of a row that are summed before the next columns' turn: a block of a panel stays in the first cache while all rows are
/// multiplied with it.
const DEPTH: usize = 256;

/// Rows that are multiplied together, at most: so many of [`DEPTH`] stay in the second cache.
const TOGETHER: usize = 48 * TALL;

/// A row's room while it is multiplied: an odd number of the cache's lines, so that not all rows are in the same of its places.
const ROOM: usize = DEPTH + 16;

/// A weight `[inputs, outputs]`: panels of [`WIDE`] outputs, in a panel the inputs' lines one after the other; missing outputs are
/// zeros.
#[derive(Debug, Clone)]
pub(super) struct Panels {
    inputs: usize,
    outputs: usize,
    lines: Vec<Line>,
}

static GEMM: Kernel = Kernel::new("gemm f32, frozen");

/// What a thread multiplies in.
#[derive(Default)]
struct Scratch {
    /// Rows' values of some depth, and rows that fill up a tile.
    rows: Vec<[f32; ROOM]>,
    /// A block of the transposed weight.
    turned: Vec<Line>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Panels {
    /// Whether this is the best form of a weight `[inputs, outputs]` on this processor.
    pub(super) fn suits([inputs, outputs]: [usize; 2]) -> bool {
        level() == Level::Avx2 && inputs.min(outputs) >= LEAST
    }

    /// From row-major values.
    ///
    /// # Panics
    /// Where the CPU lacks AVX2, which every product of panels relies on: a bug of the caller, never of a user.
    pub(super) fn pack(values: &[f32], inputs: usize, outputs: usize) -> Self {
        assert_ne!(level(), Level::Portable, "panels are for AVX2");
        let mut lines = Vec::with_capacity(inputs * outputs.div_ceil(WIDE));
        for first in (0..outputs).step_by(WIDE) {
            for row in values.chunks_exact(outputs) {
                let columns = &row[first..outputs.min(first + WIDE)];
                let mut line = [0.0; WIDE];
                line[..columns.len()].copy_from_slice(columns);
                // SAFETY: a line is as many values, and any are allowed.
                lines.push(unsafe { std::mem::transmute::<[f32; WIDE], Line>(line) });
            }
        }
        Self {
            inputs,
            outputs,
            lines,
        }
    }

    /// Everything that is held.
    pub(super) fn values(&self) -> &[f32] {
        // SAFETY: lines are nothing but values, one after the other.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * WIDE) }
    }

    /// `out` ← `a` · weight, or by its transpose.
    pub(super) fn product(&self, direction: Direction, a: &[f32], out: &mut [f32]) {
        let (inner, columns) = match direction {
            Direction::Forward => (self.inputs, self.outputs),
            Direction::Backward => (self.outputs, self.inputs),
        };
        // Alike, so that none is too short to be worth its start; whole tiles.
        let rows = a.len() / inner;
        let together = rows.div_ceil(rows.div_ceil(TOGETHER).max(1));
        let together = together.next_multiple_of(TALL).max(TALL);
        let pieces = a.chunks(together * inner);
        let pieces = pieces.zip(out.chunks_mut(together * columns));
        GEMM.time(1, || {
            SCRATCH.with_borrow_mut(|scratch| {
                for (a, out) in pieces {
                    // SAFETY: `pack` has seen that the CPU has the instructions.
                    unsafe { self.multiply(direction, [inner, columns], a, out, scratch) };
                }
            });
        });
    }

    #[target_feature(enable = "avx2,fma")]
    fn multiply(
        &self,
        direction: Direction,
        [inner, columns]: [usize; 2],
        a: &[f32],
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        const { assert!(DEPTH.is_multiple_of(WIDE)) };
        let Scratch { rows, turned } = scratch;
        // What fills up a tile is of no account: its sums go nowhere.
        let count = (a.len() / inner).next_multiple_of(TALL);
        rows.resize(count.max(rows.len()), [0.0; ROOM]);
        let rows = &mut rows[..count];
        turned.resize(DEPTH, [_mm256_setzero_ps(); _]);
        // About as deep as each other, and whole panels of the transpose.
        let depth = inner.div_ceil(inner.div_ceil(DEPTH));
        let depth = depth.next_multiple_of(WIDE);
        for start in (0..inner).step_by(depth) {
            let deep = start..inner.min(start + depth);
            for (room, row) in rows.iter_mut().zip(a.chunks_exact(inner)) {
                room[..deep.len()].copy_from_slice(&row[deep.clone()]);
            }
            for first in (0..columns).step_by(WIDE) {
                let panel = match direction {
                    Direction::Forward => {
                        &self.lines[first / WIDE * self.inputs..][..self.inputs][deep.clone()]
                    }
                    Direction::Backward => {
                        let turned = &mut turned[..deep.len()];
                        self.turn(first, deep.start, turned);
                        &*turned
                    }
                };
                let tiles = rows.as_chunks::<TALL>().0;
                let outs = out.chunks_mut(TALL * columns);
                for (tile, (rows, out)) in tiles.iter().zip(outs).enumerate() {
                    self.ask(direction, first + WIDE, deep.clone(), tile);
                    let out = Out {
                        rows: out,
                        stride: columns,
                        columns: first..columns.min(first + WIDE),
                        add: start > 0,
                    };
                    product(Rows(rows), panel, out);
                }
            }
        }
    }

    /// The transpose of [`WIDE`] inputs from `first` on, as a panel: of some outputs, of which the first begins a panel.
    #[target_feature(enable = "avx2")]
    fn turn(&self, first: usize, output: usize, turned: &mut [Line]) {
        let panels = self.lines.chunks_exact(self.inputs).skip(output / WIDE);
        for (block, panel) in turned.chunks_mut(WIDE).zip(panels) {
            let lines = &panel[first..self.inputs.min(first + WIDE)];
            for (from, to) in block.chunks_mut(LANES).enumerate() {
                let mut halves = [[_mm256_setzero_ps(); LANES]; 2];
                for (half, lines) in halves.iter_mut().zip(lines.chunks(LANES)) {
                    for (row, line) in half.iter_mut().zip(lines) {
                        *row = line[from];
                    }
                    transpose(half);
                }
                for (column, line) in to.iter_mut().enumerate() {
                    *line = [halves[0][column], halves[1][column]];
                }
            }
        }
    }

    /// Asks for a part of the columns that follow, from `first` on, while a tile of rows is multiplied with those before.
    #[inline(always)]
    fn ask(&self, direction: Direction, first: usize, deep: Range<usize>, part: usize) {
        if part * WIDE >= deep.len() {
            return;
        }
        let place = match direction {
            Direction::Forward => first / WIDE * self.inputs + deep.start + part * WIDE,
            Direction::Backward => (deep.start / WIDE + part) * self.inputs + first,
        };
        let from = self.lines.as_ptr().wrapping_add(place);
        (0..WIDE).for_each(|line| ask(from.wrapping_add(line)));
    }
}

/// Rows become columns: pairs of rows, then pairs of pairs, then halves of vectors.
#[target_feature(enable = "avx2")]
#[inline]
fn transpose(rows: &mut [__m256; LANES]) {
    let mut fours = [_mm256_setzero_ps(); LANES];
    for (rows, fours) in rows.chunks_exact(4).zip(fours.chunks_exact_mut(4)) {
        let (a, b) = (
            _mm256_unpacklo_ps(rows[0], rows[1]),
            _mm256_unpacklo_ps(rows[2], rows[3]),
        );
        let (c, d) = (
            _mm256_unpackhi_ps(rows[0], rows[1]),
            _mm256_unpackhi_ps(rows[2], rows[3]),
        );
        fours[0] = _mm256_shuffle_ps::<0x44>(a, b);
        fours[1] = _mm256_shuffle_ps::<0xee>(a, b);
        fours[2] = _mm256_shuffle_ps::<0x44>(c, d);
        fours[3] = _mm256_shuffle_ps::<0xee>(c, d);
    }
    // In the half h of fours[4g + c] lies column 4h + c of rows 4g to 4g + 3.
    for c in 0..4 {
        rows[c] = _mm256_permute2f128_ps::<0x20>(fours[c], fours[4 + c]);
        rows[4 + c] = _mm256_permute2f128_ps::<0x31>(fours[c], fours[4 + c]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frozen::tests::{close, exact, expected, values};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Also on processors that have something better.
        #[test]
        fn panels_make_both_products(rows in 1_usize..20, inputs in 1_usize..300, outputs in 1_usize..300, seed: u32) {
            if level() == Level::Portable {
                return Ok(());
            }
            let weight = values(seed, inputs * outputs);
            let panels = Panels::pack(&weight, inputs, outputs);
            let input = values(seed ^ 1, rows * inputs);
            let mut out = vec![f32::NAN; rows * outputs];
            panels.product(Direction::Forward, &input, &mut out);
            let want = expected(&input, |i, o| weight[i * outputs + o], [rows, inputs, outputs], exact);
            close(&out, &want, inputs)?;
            let gradient = values(seed ^ 2, rows * outputs);
            let mut out = vec![f32::NAN; rows * inputs];
            panels.product(Direction::Backward, &gradient, &mut out);
            let want = expected(&gradient, |o, i| weight[i * outputs + o], [rows, outputs, inputs], exact);
            close(&out, &want, outputs)?;
        }
    }

    /// More rows than go together, and more values of a row than are summed at a time.
    #[test]
    fn a_row_is_the_same_alone_and_among_others() {
        if level() == Level::Portable {
            return;
        }
        let (rows, inputs, outputs) = (2 * TOGETHER + 5, DEPTH + 1, DEPTH + 40);
        let panels = Panels::pack(&values(1, inputs * outputs), inputs, outputs);
        for (direction, inner, columns) in [
            (Direction::Forward, inputs, outputs),
            (Direction::Backward, outputs, inputs),
        ] {
            let a = values(2, rows * inner);
            let mut all = vec![f32::NAN; rows * columns];
            panels.product(direction, &a, &mut all);
            let each = a.chunks(inner).zip(all.chunks(columns));
            for (row, (a, expected)) in each.enumerate() {
                let mut alone = vec![f32::NAN; columns];
                panels.product(direction, a, &mut alone);
                assert_eq!(alone, expected, "{direction:?}, row {row}");
            }
        }
    }
}
