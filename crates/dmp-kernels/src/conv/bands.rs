//! Images of which there are fewer than threads, each in bands of rows.

use std::ops::Range;

use rayon::prelude::*;

use super::{Conv, Filter, Shape};

/// Rows of a band, at the least: fewer are not worth the copy.
const LEAST: usize = 8;

/// Rows that go out, in as many bands of one size as are wanted, but for the last.
pub(super) fn bands(rows: usize, wanted: usize) -> Vec<Range<usize>> {
    let tall = rows.div_ceil(wanted.max(1)).max(LEAST);
    (0..rows)
        .step_by(tall)
        .map(|first| first..rows.min(first + tall))
        .collect()
}

/// `out` ← the image `x` convolved, in bands that have all rows of it.
pub(super) fn convolve(
    conv: &Conv,
    shape: &Shape,
    bands: &[Range<usize>],
    x: &[f32],
    out: &mut [f32],
) {
    let made = bands.par_iter().map(|rows| {
        let (shape, x) = band(shape, x, rows);
        let mut out = vec![0.0; shape.filter.outputs * shape.pixels()];
        conv.convolve(&shape, &x, &mut out);
        out
    });
    let made: Vec<Vec<f32>> = made.collect();
    let columns = shape.out_size()[1];
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
    let mut band = vec![0.0; inputs * tall * width];
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
