//! Whole products on the matrix unit: the loops around blocks of tiles.

use std::cell::RefCell;
use std::ops::Range;

use super::{Line, SIDE, Session, Sums, lines, rows};
use crate::avx512::mask;

/// What a product multiplies with: blocks of [`SIDE`] columns.
///
/// A value has one part where factors are rounded to bf16, and three where all their bits count.
pub(crate) trait Right<const PARTS: usize> {
    /// The tiles of the columns from `first` on, at these rows, made in `scratch` or lying ready.
    fn tiles<'a>(&'a self, first: usize, deep: Range<usize>, scratch: &'a mut [Line])
    -> &'a [Line];

    /// What the next columns' tiles are made of, where that is far away.
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
        1 => 1024,
        _ => 128,
    }
}

/// The depths of a product, one after the other.
fn depths<const PARTS: usize>(inner: usize) -> impl Iterator<Item = Range<usize>> {
    let step = depth(PARTS);
    (0..inner)
        .step_by(step)
        .map(move |deep| deep..inner.min(deep + step))
}

/// A left factor, packed for many products.
#[derive(Debug)]
pub(crate) struct Left<const PARTS: usize> {
    count: usize,
    /// For each depth, the tiles of all rows.
    deep: Vec<(Range<usize>, Vec<Line>)>,
}

impl<const PARTS: usize> Left<PARTS> {
    /// Of rows of `inner` values.
    ///
    /// # Panics
    /// Where there is no matrix unit: a bug of the caller, never of a user.
    pub(crate) fn pack(values: &[f32], inner: usize) -> Self {
        let session = Session::new();
        let pack = |deep: Range<usize>| {
            let mut tiles = Vec::new();
            pack_rows::<PARTS>(&session, values, inner, &deep, &mut tiles);
            (deep, tiles)
        };
        Self {
            count: values.len() / inner,
            deep: depths::<PARTS>(inner).map(pack).collect(),
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
        with_scratch(|[_, right]| {
            for (deep, left) in &self.deep {
                across::<PARTS>(&session, left, b, deep, shape, out, right);
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
    with_scratch(|[left, right]| {
        for deep in depths::<PARTS>(inner) {
            pack_rows::<PARTS>(&session, a, inner, &deep, left);
            across::<PARTS>(
                &session,
                left,
                b,
                &deep,
                [count, columns, columns],
                out,
                right,
            );
        }
    });
}

/// Tiles of both factors, kept between products.
fn with_scratch(work: impl FnOnce(&mut [Vec<Line>; 2])) {
    thread_local! {
        static TILES: RefCell<[Vec<Line>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
    }
    TILES.with_borrow_mut(work);
}

fn pack_rows<const PARTS: usize>(
    _: &Session,
    values: &[f32],
    inner: usize,
    deep: &Range<usize>,
    tiles: &mut Vec<Line>,
) {
    let count = values.len() / inner;
    let block = lines(deep.len(), PARTS);
    tiles.resize(count.div_ceil(SIDE) * block, Line::default());
    for (first, tiles) in (0..count).step_by(SIDE).zip(tiles.chunks_exact_mut(block)) {
        let here = SIDE.min(count - first);
        let values = &values[first * inner + deep.start..];
        // SAFETY: the session has seen that the processor has the instructions.
        unsafe { rows::<PARTS>(values, inner, here, deep.len(), tiles) };
    }
}

/// Sets the product, or adds to it what lies so deep; `left` holds the tiles of all rows there.
fn across<const PARTS: usize>(
    session: &Session,
    left: &[Line],
    b: &impl Right<PARTS>,
    deep: &Range<usize>,
    [count, columns, stride]: [usize; 3],
    out: &mut [f32],
    right: &mut Vec<Line>,
) {
    let block = lines(deep.len(), PARTS);
    right.resize(lines(depth(PARTS), PARTS), Line::default());
    let mut edge = Edge::new();
    let add = deep.start > 0;
    for column in (0..columns).step_by(SIDE) {
        let right = b.tiles(column, deep.clone(), right);
        let ahead = b.ahead(column, deep.clone());
        let width = SIDE.min(columns - column);
        let blocks = left.chunks_exact(block).zip(out.chunks_mut(SIDE * stride));
        for (i, (left, out)) in blocks.enumerate() {
            let size = [SIDE.min(count - i * SIDE), width, stride];
            let out = &mut out[column..];
            edge.product::<PARTS>(session, deep.len(), [left, right], out, size, add);
            ahead.fetch(i, count.div_ceil(SIDE));
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

/// Room for the sums of a block at the edge of a product, which is written in part.
#[repr(C, align(64))]
pub(crate) struct Edge([[f32; SIDE]; SIDE]);

impl Edge {
    pub(crate) fn new() -> Self {
        Self([[0.0; SIDE]; SIDE])
    }

    /// `out` (=|+=) `left · right`, so many rows and columns of a block, rows `stride` apart.
    pub(crate) fn product<const PARTS: usize>(
        &mut self,
        session: &Session,
        depth: usize,
        [left, right]: [&[Line]; 2],
        out: &mut [f32],
        [rows, columns, stride]: [usize; 3],
        add: bool,
    ) {
        if [rows, columns] == [SIDE; 2] {
            let to = Sums {
                values: out,
                stride,
                add,
            };
            return session.multiply::<PARTS>(depth, left, right, to);
        }
        let to = Sums {
            values: self.0.as_flattened_mut(),
            stride: SIDE,
            add: false,
        };
        session.multiply::<PARTS>(depth, left, right, to);
        // SAFETY: the session has seen that the processor has the instructions.
        unsafe { self.put(out, [rows, columns, stride], add) };
    }

    #[target_feature(enable = "avx512f")]
    fn put(&self, out: &mut [f32], [rows, columns, stride]: [usize; 3], add: bool) {
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
