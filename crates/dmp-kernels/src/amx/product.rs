//! Whole products on the matrix unit: the loops around blocks of tiles.

use std::cell::RefCell;
use std::ops::Range;

use super::{Block, Line, SIDE, Session, lines, rows};

/// What a product multiplies with: blocks of [`SIDE`] columns.
///
/// A value has one part where factors are rounded to bf16, and three where all their bits count.
pub(crate) trait Right<const PARTS: usize> {
    /// The tiles of the columns from `first` on, at these rows, made in `scratch` or lying ready.
    fn tiles<'a>(&'a self, first: usize, deep: Range<usize>, scratch: &'a mut [Line])
    -> &'a [Line];

    /// What these tiles are made of, where that is far away.
    fn ahead(&self, _first: usize, _deep: Range<usize>) -> Ahead {
        Ahead {
            start: std::ptr::null(),
            rows: 0,
            width: 0,
            stride: 0,
        }
    }
}

/// Values of a row that are summed before the next columns' turn: so deep a block of columns stays in the first caches.
pub(crate) const fn depth(parts: usize) -> usize {
    match parts {
        1 => 256,
        _ => 128,
    }
}

/// Bytes of a left factor's tiles that are read again for each of the right one's columns: somewhat more than the second cache,
/// as sums that begin anew cost more than what no longer fits.
pub(super) const KEPT: usize = 2400 << 10;

/// Values of a row whose sums come to an end before the next ones begin: as many depths as [`KEPT`] has room for.
fn span<const PARTS: usize>(count: usize) -> usize {
    let bytes = count.div_ceil(SIDE) * size_of::<Line>() * lines(depth(PARTS), PARTS);
    depth(PARTS) * (KEPT / bytes.max(1)).max(1)
}

/// A range in pieces of so many.
fn pieces(range: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range
        .step_by(step)
        .map(move |start| start..end.min(start + step))
}

/// Tiles of a left factor over a span of its columns: for each depth, those of all rows.
#[derive(Debug, Default)]
struct Span {
    columns: Range<usize>,
    tiles: Vec<Line>,
}

impl Span {
    /// Makes them of `values`, rows of `inner`.
    fn pack<const PARTS: usize>(
        &mut self,
        _: &Session,
        values: &[f32],
        inner: usize,
        columns: Range<usize>,
    ) {
        let count = values.len() / inner;
        self.tiles.resize(
            count.div_ceil(SIDE) * lines(columns.len(), PARTS),
            Line::default(),
        );
        let mut tiles = self.tiles.as_mut_slice();
        for deep in pieces(columns.clone(), depth(PARTS)) {
            for first in (0..count).step_by(SIDE) {
                let (here, rest) = tiles.split_at_mut(lines(deep.len(), PARTS));
                tiles = rest;
                let rows_here = SIDE.min(count - first);
                let values = &values[first * inner + deep.start..];
                // SAFETY: the session has seen that the processor has the instructions.
                unsafe { rows::<PARTS>(values, inner, rows_here, deep.len(), here) };
            }
        }
        self.columns = columns;
    }
}

/// A left factor, packed for many products.
#[derive(Debug)]
pub(crate) struct Left<const PARTS: usize> {
    count: usize,
    spans: Vec<Span>,
}

impl<const PARTS: usize> Left<PARTS> {
    /// Of rows of `inner` values.
    ///
    /// # Panics
    /// Where there is no matrix unit: a bug of the caller, never of a user.
    pub(crate) fn pack(values: &[f32], inner: usize) -> Self {
        let session = Session::new();
        let count = values.len() / inner;
        let pack = |columns: Range<usize>| {
            let mut packed = Span::default();
            packed.pack::<PARTS>(&session, values, inner, columns);
            packed
        };
        Self {
            count,
            spans: pieces(0..inner, span::<PARTS>(count)).map(pack).collect(),
        }
    }

    /// `out` ← this · `b`, so many columns, the product's rows `stride` apart.
    pub(crate) fn product(
        &self,
        b: &impl Right<PARTS>,
        columns: usize,
        out: &mut [f32],
        stride: usize,
    ) {
        let session = Session::new();
        let shape = [self.count, columns, stride];
        with_scratch(|scratch| {
            for left in &self.spans {
                across::<PARTS>(&session, left, b, shape, out, scratch);
            }
        });
    }
}

/// `out` `[rows, columns]` ← `a` `[rows, inner]` · `b`.
///
/// # Panics
/// When shapes do not fit, or the processor has no matrix unit: a bug of the caller, never of a user.
pub(crate) fn product<const PARTS: usize>(
    a: &[f32],
    b: &impl Right<PARTS>,
    [inner, columns]: [usize; 2],
    out: &mut [f32],
) {
    let session = Session::new();
    let count = out.len() / columns;
    assert_eq!(a.len(), count * inner, "left factor");
    with_scratch(|scratch| {
        let mut left = std::mem::take(&mut scratch.left);
        for range in pieces(0..inner, span::<PARTS>(count)) {
            left.pack::<PARTS>(&session, a, inner, range);
            across::<PARTS>(&session, &left, b, [count, columns, columns], out, scratch);
        }
        scratch.left = left;
    });
}

/// What a thread computes in, kept between products.
#[derive(Default)]
struct Scratch {
    left: Span,
    right: Vec<Line>,
    /// A column of blocks.
    sums: Vec<Block>,
}

fn with_scratch(work: impl FnOnce(&mut Scratch)) {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::default();
    }
    SCRATCH.with_borrow_mut(work);
}

/// Sets the product, or adds to it what the span holds.
fn across<const PARTS: usize>(
    session: &Session,
    Span {
        columns: span,
        tiles,
    }: &Span,
    b: &impl Right<PARTS>,
    [count, columns, stride]: [usize; 3],
    out: &mut [f32],
    Scratch { right, sums, .. }: &mut Scratch,
) {
    right.resize(lines(depth(PARTS), PARTS), Line::default());
    sums.resize(count.div_ceil(SIDE), Block::ZERO);
    for column in (0..columns).step_by(SIDE) {
        let mut tiles = tiles.as_slice();
        for deep in pieces(span.clone(), depth(PARTS)) {
            let right = b.tiles(column, deep.clone(), right);
            let ahead = match deep.end < span.end {
                true => b.ahead(column, deep.end..span.end.min(deep.end + depth(PARTS))),
                false => b.ahead(
                    column + SIDE,
                    span.start..span.end.min(span.start + depth(PARTS)),
                ),
            };
            for (i, sums) in sums.iter_mut().enumerate() {
                let (left, rest) = tiles.split_at(lines(deep.len(), PARTS));
                tiles = rest;
                let last = deep.end == span.end;
                let out = &mut out[i * SIDE * stride + column..];
                let size = [
                    SIDE.min(count - i * SIDE),
                    SIDE.min(columns - column),
                    stride,
                ];
                let to = sums.sums(deep.start > span.start);
                session.multiply::<PARTS>(deep.len(), left, right, to);
                ahead.fetch(i, count.div_ceil(SIDE));
                if last {
                    sums.put(session, out, size, span.start > 0);
                }
            }
        }
    }
}

/// Memory that is wanted next: `rows` of `width` bytes, `stride` bytes apart.
pub(crate) struct Ahead {
    /// Only ever a hint: it may lead anywhere.
    pub(crate) start: *const u8,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) stride: usize,
}

impl Ahead {
    /// Asks for one of so many shares of it.
    fn fetch(&self, share: usize, shares: usize) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        let wide = self.width / 64;
        let all = self.rows * wide;
        for line in share * all / shares..(share + 1) * all / shares {
            let at = line / wide * self.stride + line % wide * 64;
            // SAFETY: a hint touches nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(self.start.wrapping_add(at).cast()) };
        }
    }
}
