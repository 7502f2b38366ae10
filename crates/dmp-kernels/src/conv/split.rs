//! Images in parts of bf16, so that a pixel is split once however many windows it is in.

use std::arch::x86_64::*;

use super::Shape;
use super::tiles::PARTS;
use crate::amx::{self, TILE};
use crate::profile::Kernel;

static SPLIT: Kernel = Kernel::new("split pixels");

/// An image with its padding, as words of two channels' bf16: `[rows, ⌈channels/2⌉, parts, phases, columns]`, as windows want what is
/// of their rows and all channels.
///
/// Columns that a stride skips together lie together, in phases, so that neighbouring output pixels read neighbouring words.
#[derive(Debug, Default)]
pub(super) struct Image {
    words: Vec<u32>,
}

/// How [`Image`]s of a convolution are laid out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Words of one phase, of one part of two channels, of two channels, and of all channels.
    pub(super) phase: usize,
    pub(super) part: usize,
    pub(super) pair: usize,
    pub(super) row: usize,
    pub(super) rows: usize,
}

impl Layout {
    pub(super) fn new(shape: &Shape) -> Self {
        let [rows, columns] = [0, 1].map(|i| shape.size[i] + 2 * shape.filter.padding[i]);
        let phase = columns.div_ceil(shape.filter.stride);
        let part = shape.filter.stride.min(columns) * phase;
        let pair = PARTS * part;
        Self {
            phase,
            part,
            pair,
            row: pair * shape.filter.inputs.div_ceil(2),
            rows,
        }
    }
}

impl Image {
    /// Takes up `x`, `[inputs, h, w]`.
    pub(super) fn split(&mut self, shape: &Shape, x: &[f32]) {
        assert!(amx::available(), "no matrix unit");
        let layout = Layout::new(shape);
        self.words.resize(layout.rows * layout.row, 0);
        // SAFETY: the processor has the instructions.
        SPLIT.time(1, || unsafe {
            split(shape, x, layout, &mut self.words);
        });
    }

    pub(super) fn words(&self) -> &[u32] {
        &self.words
    }
}

/// Where up to sixteen values of a row go.
struct Place {
    /// The first value's column.
    from: usize,
    count: usize,
    /// Lanes that lie one after the other, and the first one's place in a row of words.
    phases: Vec<(__mmask16, usize)>,
}

/// For a row of the image.
fn places(shape: &Shape, layout: Layout) -> Vec<Place> {
    let width = shape.size[1];
    (0..width)
        .step_by(TILE)
        .map(|from| {
            let count = TILE.min(width - from);
            let at = from + shape.filter.padding[1];
            // The first lanes begin a phase each.
            let phases = (0..count.min(shape.filter.stride)).map(|first| {
                let lanes = (first..count)
                    .step_by(shape.filter.stride)
                    .fold(0, |lanes, lane| lanes | 1 << lane);
                let column = at + first;
                let to = column % shape.filter.stride * layout.phase + column / shape.filter.stride;
                (lanes, to)
            });
            Place {
                from,
                count,
                phases: phases.collect(),
            }
        })
        .collect()
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn split(shape: &Shape, x: &[f32], layout: Layout, words: &mut [u32]) {
    let [height, width] = shape.size;
    let image = height * width;
    let places = places(shape, layout);
    for (y, row) in words.chunks_exact_mut(layout.row).enumerate() {
        row.fill(0);
        let Some(y) = y
            .checked_sub(shape.filter.padding[0])
            .filter(|&y| y < height)
        else {
            continue;
        };
        for (pair, row) in row.chunks_exact_mut(layout.pair).enumerate() {
            let channels = &x[2 * pair * image..];
            let depth = 2.min(shape.filter.inputs - 2 * pair);
            for place in &places {
                let values = &channels[y * width + place.from..];
                let parts = amx::pairs::<PARTS>(values, image, [0, depth], [0, place.count]);
                for (parts, words) in parts.into_iter().zip(row.chunks_exact_mut(layout.part)) {
                    for &(lanes, to) in &place.phases {
                        put(parts, lanes, &mut words[to..]);
                    }
                }
            }
        }
    }
}

/// Stores these lanes one after the other.
#[target_feature(enable = "avx512f")]
#[inline]
fn put(values: __m512i, lanes: __mmask16, to: &mut [u32]) {
    let to = &mut to[..lanes.count_ones() as usize];
    let packed = _mm512_maskz_compress_epi32(lanes, values);
    let there = ((1_u32 << to.len()) - 1) as __mmask16;
    // SAFETY: so many words are there.
    unsafe { _mm512_mask_storeu_epi32(to.as_mut_ptr().cast(), there, packed) };
}
