//! Patches side by side, for any product of matrices.

use super::{Filter, Shape};

/// Patches of output pixels `first` on, as columns: `[inputs·kh·kw, count]`.
pub(super) fn gather(shape: &Shape, x: &[f32], first: usize, count: usize, out: &mut [f32]) {
    let ([height, width], [_, columns]) = (shape.size, shape.out_size());
    let Filter {
        kernel: [kernel_rows, kernel_columns],
        stride,
        padding: [above, before],
        ..
    } = shape.filter;
    let taps = (0..kernel_rows).flat_map(|y| (0..kernel_columns).map(move |x| (y, x)));
    let mut rows = out.chunks_exact_mut(count);
    for channel in x.chunks_exact(height * width) {
        for ((down, right), row) in taps.clone().zip(&mut rows) {
            let mut pixel = first;
            let mut rest = row;
            // A run of pixels of one output row at a time.
            while !rest.is_empty() {
                let (y, from) = (pixel / columns, pixel % columns);
                let run = (columns - from).min(rest.len());
                let (head, tail) = rest.split_at_mut(run);
                let source = (y * stride + down).checked_sub(above);
                match source.filter(|&y| y < height) {
                    Some(y) => {
                        let line = &channel[y * width..(y + 1) * width];
                        copy_line(line, head, from, right, stride, before);
                    }
                    None => head.fill(0.0),
                }
                rest = tail;
                pixel += run;
            }
        }
    }
}

/// `out[i] = line[(from + i)·stride + right − padding]`, 0 outside.
fn copy_line(
    line: &[f32],
    out: &mut [f32],
    from: usize,
    right: usize,
    stride: usize,
    padding: usize,
) {
    let start = from * stride + right;
    // The pixels that are inside, and the first one's place.
    let before = padding.saturating_sub(start).div_ceil(stride);
    let inside = (padding + line.len())
        .saturating_sub(start)
        .div_ceil(stride);
    let (head, out) = out.split_at_mut(before.min(out.len()));
    let (middle, tail) = out.split_at_mut(inside.saturating_sub(before).min(out.len()));
    head.fill(0.0);
    tail.fill(0.0);
    if middle.is_empty() {
        return;
    }
    let line = &line[start + before * stride - padding..];
    match stride {
        1 => middle.copy_from_slice(&line[..middle.len()]),
        _ => middle
            .iter_mut()
            .zip(line.iter().step_by(stride))
            .for_each(|(out, &value)| *out = value),
    }
}
