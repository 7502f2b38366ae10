//! Products in f32 of fixed-point numbers: three bytes a value, by the largest of its row.
//!
//! A row of the left factor, over some hundreds of values (a *depth*), is `m / 127 · (d₁ + d₂/2⁸ + d₃/2¹⁶)`, where `m` is the largest
//! of them, signs aside, and digits are bytes from −128 to 127; so is a column of the right one. The unit multiplies bytes twice as
//! fast as bf16 and adds them up exactly. Of the nine products of digits all are taken but d₃·d₃, in sums of one scale each: eight
//! products of bytes take as long as four of bf16, where [`super::product()`] needs six, and move half as much memory.
//!
//! What is lost is what a value has beyond 2⁻²³ of its row's (or column's) largest. Where a row's values are alike that is less than
//! sums in f32 lose; beside a largest value that is far from the others it is more, a few times as much at a hundred times the others.
//! A row or column with a value that is not finite gives no numbers; a row whose largest is above 2¹¹⁰ may give infinite ones, and one
//! whose largest is below 2⁻¹⁰⁰ keeps multiples of 2⁻¹²³.

mod digits;
mod multiply;

use std::cell::RefCell;
use std::ops::Range;

use super::{Line, Session, TILE};
use multiply::{Place, Sums};
use rayon::prelude::*;

/// Values that one tile multiplies: four in each word of a line.
const DEEP: usize = 64;

/// Digits of a value.
const DIGITS: usize = 3;

/// Values of a row at the most that share a scale. Sums are exact, as 3 · 2¹⁴ for each value are far below 2³¹.
const DEPTH: usize = 768;

/// Rows of a left factor that are multiplied with all of the right one before the next ones: their digits stay in the second cache.
const ROWS: usize = 256;

/// Columns whose digits are in use for all rows before the next ones' turn.
const COLUMNS: usize = 2 * TILE;

/// Whether the processor has the instructions, and the system lets this process use them; looked up once.
pub(crate) fn available() -> bool {
    /// Leaf 7 has AMX-INT8 in bit 25.
    fn bytes() -> bool {
        std::arch::x86_64::__cpuid_count(7, 0).edx & 1 << 25 != 0
    }
    static AVAILABLE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *AVAILABLE.get_or_init(|| super::available() && bytes())
}

/// A right factor `[inner, columns]`, packed once.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    inner: usize,
    columns: usize,
    depths: Vec<Depth>,
}

/// Rows of a right factor that share their columns' scales.
#[derive(Debug, Clone)]
struct Depth {
    rows: Range<usize>,
    /// For each sixteen columns, what a block multiplies; missing columns are zeros.
    tiles: Vec<Line>,
    /// What a column's first digits count.
    units: Vec<f32>,
}

impl Packed {
    /// Of values that are asked for by row and column.
    ///
    /// # Panics
    /// Where the unit is not [`available`]: a bug of the caller, never of a user.
    pub(crate) fn new(
        [inner, columns]: [usize; 2],
        value: impl Fn(usize, usize) -> f32 + Sync,
    ) -> Self {
        assert!(available(), "no matrix unit for bytes");
        let depths = depths(inner).map(|rows| {
            let wide = columns.div_ceil(TILE);
            let mut tiles = vec![Line::default(); wide * lines(rows.len())];
            let mut units = vec![0.0; wide * TILE];
            tiles
                .par_chunks_exact_mut(lines(rows.len()))
                .zip(units.par_chunks_exact_mut(TILE))
                .enumerate()
                .for_each(|(i, (tiles, units))| {
                    for (column, unit) in units.iter_mut().enumerate().take(columns - i * TILE) {
                        let values = rows.clone().map(|row| value(row, i * TILE + column));
                        *unit = digits::column(values, column, tiles);
                    }
                });
            Depth { rows, tiles, units }
        });
        Self {
            inner,
            columns,
            depths: depths.collect(),
        }
    }

    /// Calls `see` with every word held.
    pub(crate) fn words(&self, see: &mut impl FnMut(u32)) {
        for Depth { tiles, units, .. } in &self.depths {
            tiles.iter().flat_map(|line| line.0).for_each(&mut *see);
            units.iter().for_each(|unit| see(unit.to_bits()));
        }
    }

    /// `out` `[rows, columns]` ← `a` `[rows, inner]` · this.
    ///
    /// # Panics
    /// When shapes do not fit, or have no values: a bug of the caller, never of a user.
    pub(crate) fn product(&self, a: &[f32], out: &mut [f32]) {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        let (inner, columns) = (self.inner, self.columns);
        assert!(
            a.len().is_multiple_of(inner) && a.len() / inner * columns == out.len(),
            "left factor"
        );
        let session = Session::new();
        SCRATCH.with_borrow_mut(|scratch| {
            let rows = a.chunks(ROWS * inner).zip(out.chunks_mut(ROWS * columns));
            for (a, out) in rows {
                for depth in &self.depths {
                    scratch.take(&session, &a[depth.rows.start..], inner, depth.rows.len());
                    scratch.multiply(&session, depth, columns, out);
                }
            }
        });
    }
}

/// What a thread computes in, kept between products.
#[derive(Default)]
struct Scratch {
    /// For each sixteen rows, what a block multiplies.
    left: Vec<Line>,
    /// What a row's first digits count.
    units: Vec<f32>,
    /// Of the block at hand, and of the one before, which may still be on its way to its place.
    sums: [Sums; 2],
}

impl Scratch {
    /// Takes up so many values of each row, rows `stride` apart.
    fn take(&mut self, _: &Session, values: &[f32], stride: usize, depth: usize) {
        let count = values.len().div_ceil(stride);
        let tiles = count.div_ceil(TILE);
        self.left.resize(tiles * lines(depth), Line::default());
        self.units.resize(count, 0.0);
        for (i, units) in self.units.chunks_mut(TILE).enumerate() {
            let values = &values[i * TILE * stride..];
            let to = &mut self.left[i * lines(depth)..][..lines(depth)];
            // SAFETY: the session has seen that the processor has the instructions.
            unsafe { digits::rows(values, stride, depth, units, to) };
        }
    }

    /// Sets the product, or adds to it what this depth holds.
    fn multiply(&mut self, session: &Session, right: &Depth, columns: usize, out: &mut [f32]) {
        let Self { left, units, sums } = self;
        let block = lines(right.rows.len());
        let groups = right.tiles.chunks(COLUMNS / TILE * block);
        for (first, tiles) in (0..columns).step_by(COLUMNS).zip(groups) {
            for (row, (left, units)) in left.chunks_exact(block).zip(units.chunks(TILE)).enumerate()
            {
                for (i, (tiles, sums)) in tiles.chunks_exact(block).zip(&mut *sums).enumerate() {
                    let column = first + i * TILE;
                    sums.product(session, left, tiles);
                    let to = Place {
                        values: &mut out[row * TILE * columns + column..],
                        stride: columns,
                        columns: TILE.min(columns - column),
                        add: right.rows.start > 0,
                    };
                    sums.put(session, [units, &right.units[column..]], to);
                }
            }
        }
    }
}

/// The depths of so many values, about as long as each other.
fn depths(inner: usize) -> impl Iterator<Item = Range<usize>> {
    let depth = inner
        .div_ceil(inner.div_ceil(DEPTH).max(1))
        .next_multiple_of(DEEP);
    (0..inner)
        .step_by(depth.max(1))
        .map(move |start| start..inner.min(start + depth))
}

/// Lines of a block's factor: for each tile's depth, a tile of each digit.
fn lines(depth: usize) -> usize {
    depth.div_ceil(DEEP) * DIGITS * TILE
}

#[cfg(test)]
mod tests;
