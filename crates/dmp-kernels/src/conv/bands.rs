//! Images in bands of rows: where there are fewer of them than threads, and where they are so large that what is held beside
//! them would be, too.

use std::ops::Range;

use rayon::prelude::*;

use super::{Conv, Filter, Shape, product};

/// Rows of a band that is cut so that another thread has work, about and at the least: fewer are not worth the copy.
const WORTH: usize = 8;

/// Values of a band that go in, about and at most: 16 MB.
const HELD: usize = 1 << 22;

/// Rows that go out, in bands of one size but for the last, which may be lower: as many as threads that are to share the image, if they
/// are worth it, or more, so that none is too large. `values` go in.
pub(super) fn bands(rows: usize, values: usize, threads: usize) -> Vec<Range<usize>> {
    let shared = threads.min(rows / WORTH);
    let count = shared.max(values.div_ceil(HELD)).clamp(1, rows.max(1));
    let tall = rows.div_ceil(count).max(1);
    (0..rows)
        .step_by(tall)
        .map(|first| first..rows.min(first + tall))
        .collect()
}

/// `out` ← the image `x` convolved, in bands that have all rows of it, so many at once.
pub(super) fn convolve(
    conv: &Conv,
    shape: &Shape,
    bands: &[Range<usize>],
    at_once: usize,
    x: &[f32],
    out: &mut [f32],
) {
    let columns = shape.out_size()[1];
    for bands in bands.chunks(at_once) {
        let made = bands.par_iter().map(|rows| {
            let (shape, x) = band(shape, x, rows);
            let mut out = vec![0.0; product([shape.filter.outputs, shape.pixels()])];
            conv.convolve(&shape, &x, &mut out);
            out
        });
        let made: Vec<Vec<f32>> = made.collect();
        out.par_chunks_exact_mut(shape.pixels())
            .enumerate()
            .for_each(|(output, plane)| {
                for (made, rows) in made.iter().zip(bands) {
                    let size = rows.len() * columns;
                    plane[rows.start * columns..rows.end * columns]
                        .copy_from_slice(&made[output * size..(output + 1) * size]);
                }
            });
    }
}

/// What those output rows are made of: an image, with the zeros above and below it that the rows see.
fn band(shape: &Shape, x: &[f32], rows: &Range<usize>) -> (Shape, Vec<f32>) {
    let Filter {
        inputs,
        kernel,
        stride,
        padding: [above, beside],
        ..
    } = shape.filter;
    let [height, width] = shape.size;
    let tall = (rows.len() - 1) * stride + kernel[0];
    // In rows of the padded image, which has `above` zeros before its own.
    let first = rows.start * stride;
    let zeros = above.saturating_sub(first).min(tall);
    let from = (first + zeros).saturating_sub(above).min(height);
    let count = (tall - zeros).min(height - from);
    let mut band = vec![0.0; product([inputs, tall, width])];
    for (band, plane) in band
        .chunks_exact_mut(tall * width)
        .zip(x.chunks_exact(height * width))
    {
        band[zeros * width..(zeros + count) * width]
            .copy_from_slice(&plane[from * width..(from + count) * width]);
    }
    let filter = Filter {
        padding: [0, beside],
        ..shape.filter
    };
    let size = [tall, width];
    (Shape { filter, size }, band)
}
