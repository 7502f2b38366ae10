//! Windows of neighbouring output pixels, side by side in vectors of eight.

use std::arch::x86_64::*;
use std::ops::Range;

use super::Shape;
use crate::avx2::{LANES, Line, VECTORS, WIDE, ask, lanes};

/// How many channels' values are asked for before their turn: planes are too far apart for a processor to guess which come next.
const AHEAD: usize = 12;

/// An image and where the windows of its output pixels are.
pub(super) struct Windows<'a> {
    x: &'a [f32],
    inputs: usize,
    size: [usize; 2],
    /// Output pixels, and how many of them a row has.
    pixels: usize,
    columns: usize,
    stride: usize,
    /// Where the places of an output pixel's kernel are from its own, rows and columns.
    places: Vec<[isize; 2]>,
}

/// Pixels among a panel's that have neighbouring values: their lanes, and where that of lane 0 would be.
#[derive(Clone, Copy)]
struct Run {
    lanes: [__m256i; VECTORS],
    start: isize,
}

/// Lanes whose values are inside of the image, and where in a plane those are.
#[derive(Clone, Copy)]
struct Picked {
    lanes: __m256,
    offsets: __m256i,
}

impl<'a> Windows<'a> {
    /// Of `x`, `[inputs, h, w]`.
    pub(super) fn new(shape: &Shape, x: &'a [f32]) -> Self {
        let ([height, width], [_, columns]) = (shape.size, shape.out_size());
        assert_eq!(x.len(), shape.image(), "image");
        // Offsets of single values are counted in 32 bits.
        assert!(
            shape.filter.stride == 1 || i32::try_from(height * width).is_ok(),
            "too large a plane for a stride"
        );
        let [kernel_rows, kernel_columns] = shape.filter.kernel;
        let [above, before] = shape.filter.padding.map(|padding| padding as isize);
        let places = (0..kernel_rows as isize)
            .flat_map(|y| (0..kernel_columns as isize).map(move |x| [y - above, x - before]));
        let mut windows = Self {
            x,
            inputs: shape.filter.inputs,
            size: shape.size,
            pixels: shape.pixels(),
            columns,
            stride: shape.filter.stride,
            places: places.collect(),
        };
        if shape.filter.stride == 1 && kernel_columns == 1 && before == 0 {
            // Rows that nothing is between are one row, in which windows have fewer runs.
            windows.size = [1, height * width];
            windows.columns = windows.pixels;
            for place in &mut windows.places {
                *place = [0, place[0] * width as isize];
            }
        }
        windows
    }

    /// Values `first` on of the windows of up to [`WIDE`] output pixels, as many as `panel` has room for; for each place its channels.
    ///
    /// # Panics
    /// When there are no such pixels or values: a bug of the caller, never of a user.
    #[target_feature(enable = "avx2")]
    pub(super) fn gather(&self, pixels: Range<usize>, first: usize, mut panel: &mut [Line]) {
        assert!(pixels.end <= self.pixels && pixels.len() <= WIDE, "pixels");
        let plane = self.size[0] * self.size[1];
        let mut at = first;
        while !panel.is_empty() {
            let (place, channel) = (self.places[at / self.inputs], at % self.inputs);
            let (here, rest) = panel.split_at_mut((self.inputs - channel).min(panel.len()));
            at += here.len();
            panel = rest;
            let channels = &self.x[channel * plane..(channel + here.len()) * plane];
            if self.stride == 1 {
                let (runs, count) = self.runs(pixels.clone(), place);
                // SAFETY: a plane for each of `here` is what was sliced, and runs are cut to the rows and columns of a plane.
                unsafe {
                    match count {
                        // Their number known, so that they are no loops.
                        1 => copy(channels, plane, &runs[..1], here),
                        2 => copy(channels, plane, &runs[..2], here),
                        3 => copy(channels, plane, &runs[..3], here),
                        _ => copy(channels, plane, &runs[..count], here),
                    }
                }
            } else {
                let picked = self.picked(pixels.clone(), place);
                // SAFETY: likewise; lanes are of rows and columns of a plane, whose offsets fit in 32 bits as `new` has seen.
                unsafe { pick(channels, plane, &picked, here) };
            }
        }
    }

    /// The runs that some pixels' values at a place of the kernel consist of; what is outside of the image is in none.
    #[target_feature(enable = "avx2")]
    fn runs(&self, pixels: Range<usize>, [down, right]: [isize; 2]) -> ([Run; WIDE], usize) {
        let nothing = Run {
            lanes: [_mm256_setzero_si256(); VECTORS],
            start: 0,
        };
        let (mut runs, mut count) = ([nothing; WIDE], 0);
        let [height, width] = self.size.map(|n| n as isize);
        let mut pixel = pixels.start;
        while pixel < pixels.end {
            let (y, x) = (pixel / self.columns, pixel % self.columns);
            let length = (self.columns - x).min(pixels.end - pixel);
            let lane = (pixel - pixels.start) as isize;
            pixel += length;
            let (y, x) = (y as isize + down, x as isize + right);
            let from = lane - x.min(0);
            let to = lane + (length as isize).min(width - x);
            if (0..height).contains(&y) && from < to {
                let lane_of = |v: usize, n: isize| (n - (v * LANES) as isize).max(0) as usize;
                let mut run = nothing;
                run.start = y * width + x - lane;
                for v in 0..VECTORS {
                    run.lanes[v] = lanes(lane_of(v, from)..lane_of(v, to));
                }
                runs[count] = run;
                count += 1;
            }
        }
        (runs, count)
    }

    /// Some pixels' values at a place of the kernel, one by one.
    #[target_feature(enable = "avx2")]
    fn picked(&self, pixels: Range<usize>, [down, right]: [isize; 2]) -> [Picked; VECTORS] {
        let [height, width] = self.size.map(|n| n as isize);
        let (mut there, mut offsets) = ([[0_i32; LANES]; VECTORS], [[0_i32; LANES]; VECTORS]);
        for (lane, pixel) in pixels.enumerate() {
            let y = (pixel / self.columns * self.stride) as isize + down;
            let x = (pixel % self.columns * self.stride) as isize + right;
            if (0..height).contains(&y) && (0..width).contains(&x) {
                there[lane / LANES][lane % LANES] = -1;
                offsets[lane / LANES][lane % LANES] = (y * width + x) as i32;
            }
        }
        let nothing = Picked {
            lanes: _mm256_setzero_ps(),
            offsets: _mm256_setzero_si256(),
        };
        let mut picked = [nothing; VECTORS];
        for (picked, (there, offsets)) in picked.iter_mut().zip(there.iter().zip(&offsets)) {
            // SAFETY: eight values are there.
            unsafe {
                picked.lanes = _mm256_loadu_ps(there.as_ptr().cast());
                picked.offsets = _mm256_loadu_si256(offsets.as_ptr().cast());
            }
        }
        picked
    }
}

/// Values of runs, of one channel after the other.
///
/// # Safety
/// The runs' lanes are of values inside of a plane, and there is a plane for each channel of `panel`.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn copy(channels: &[f32], plane: usize, runs: &[Run], panel: &mut [Line]) {
    for (channel, vectors) in panel.iter_mut().enumerate() {
        let channel = channels.as_ptr().wrapping_add(channel * plane);
        if let (Some(first), Some(last)) = (runs.first(), runs.last()) {
            let ahead = channel.wrapping_add(AHEAD * plane);
            ask(ahead.wrapping_offset(first.start));
            ask(ahead.wrapping_offset(last.start).wrapping_add(WIDE - 1));
        }
        *vectors = [_mm256_setzero_ps(); VECTORS];
        for run in runs {
            let mut from = channel.wrapping_offset(run.start);
            for (vector, &lanes) in vectors.iter_mut().zip(&run.lanes) {
                // SAFETY: lanes of others are not read.
                let values = unsafe { _mm256_maskload_ps(from, lanes) };
                *vector = _mm256_or_ps(*vector, values);
                from = from.wrapping_add(LANES);
            }
        }
    }
}

/// Values one by one, of one channel after the other.
///
/// # Safety
/// As for [`copy`].
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn pick(channels: &[f32], plane: usize, picked: &[Picked; VECTORS], panel: &mut [Line]) {
    for (vectors, channel) in panel.iter_mut().zip(channels.chunks_exact(plane)) {
        for (vector, picked) in vectors.iter_mut().zip(picked) {
            let (from, nothing) = (channel.as_ptr(), _mm256_setzero_ps());
            // SAFETY: lanes of others are not read.
            *vector = unsafe {
                _mm256_mask_i32gather_ps::<4>(nothing, from, picked.offsets, picked.lanes)
            };
        }
    }
}
