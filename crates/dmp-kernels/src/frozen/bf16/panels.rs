//! bf16 values, and how a right factor is laid out for the tiles that read it.

/// Columns of a panel: as many sums as a tile keeps in registers side by side.
pub(super) const PANEL: usize = 64;

/// A right factor `[inner, columns]`: panels of [`PANEL`] columns; in a panel, for each pair of rows (2k, 2k + 1), the pairs of
/// all its columns, the even row's value in the low half. Missing rows and columns are zeros, the last panel is as wide as
/// its columns need, in steps of 16.
#[derive(Debug, Clone)]
pub(super) struct Panels {
    inner: usize,
    columns: usize,
    pairs: Vec<u32>,
}

impl Panels {
    /// Element (k, c) is `element(k, c)`, rounded.
    pub(super) fn pack(
        inner: usize,
        columns: usize,
        element: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let half = |k: usize, c: usize| match k < inner && c < columns {
            true => u32::from(round(element(k, c))),
            false => 0,
        };
        let mut pairs = Vec::with_capacity(inner.div_ceil(2) * columns.next_multiple_of(16));
        for first in (0..columns).step_by(PANEL) {
            let width = PANEL.min((columns - first).next_multiple_of(16));
            for k in (0..inner).step_by(2) {
                pairs.extend((first..first + width).map(|c| half(k, c) | half(k + 1, c) << 16));
            }
        }
        Self {
            inner,
            columns,
            pairs,
        }
    }

    /// Rows of the factor.
    pub(super) fn inner(&self) -> usize {
        self.inner
    }

    /// Columns of the factor.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Pairs of rows.
    pub(super) fn pairs(&self) -> usize {
        self.inner.div_ceil(2)
    }

    /// Each panel: its first column, its width with what is missing, and its pairs.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, usize, &[u32])> {
        let depth = self.pairs();
        (0..self.columns).step_by(PANEL).map(move |first| {
            let width = PANEL.min((self.columns - first).next_multiple_of(16));
            // All panels before it are full.
            (first, width, &self.pairs[first * depth..][..width * depth])
        })
    }
}

/// The nearest bf16, ties to even; what is no number stays none.
#[inline(always)]
pub(crate) fn round(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1))) >> 16;
    (if x.is_nan() {
        bits >> 16 | 0x40
    } else {
        rounded
    }) as u16
}

crate::vectorised! {
    /// A row's values in pairs, the even one in the low half.
    pub(super) fn round_row(row: &[f32], pairs: &mut [u32]) {
        let (chunks, rest) = row.as_chunks::<2>();
        for (pair, &[even, odd]) in pairs.iter_mut().zip(chunks) {
            *pair = u32::from(round(even)) | u32::from(round(odd)) << 16;
        }
        if let (&[last], Some(pair)) = (rest, pairs.last_mut()) {
            *pair = u32::from(round(last));
        }
    }
}
