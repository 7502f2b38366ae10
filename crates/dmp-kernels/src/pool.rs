//! Pooling over windows of 3×3, forward only, as feature networks of photographs do it between convolutions.

use rayon::prelude::*;

use crate::vectorised;

/// What becomes of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// The largest value; what is no number stays none.
    Max,
    /// The mean of the values inside the image.
    Mean,
}

/// Sizes of a pooling over planes `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolShape {
    /// Images times channels.
    pub planes: usize,
    /// Rows and columns of a plane; with the padding three or more.
    pub size: [usize; 2],
    /// Step of the windows in both directions, 1 or more.
    pub stride: usize,
    /// Rows and columns around a plane that count for nothing, 0 or 1.
    pub padding: usize,
}

impl PoolShape {
    /// Rows and columns that go out.
    pub fn out_size(&self) -> [usize; 2] {
        self.size
            .map(|n| (n + 2 * self.padding - 3) / self.stride + 1)
    }
}

/// `x` `[planes, height, width]` → `[planes, height', width']`.
///
/// # Panics
/// When `x` does not have the size that `shape` says: a bug of the caller, never of a user.
pub fn pool(kind: Pool, shape: &PoolShape, x: &[f32]) -> Vec<f32> {
    let ([height, width], [rows, columns]) = (shape.size, shape.out_size());
    assert_eq!(x.len(), shape.planes * height * width, "input");
    assert!(shape.padding <= 1, "padding");
    let mut out = vec![0.0; shape.planes * rows * columns];
    let nothing = match kind {
        Pool::Max => f32::NEG_INFINITY,
        Pool::Mean => 0.0,
    };
    // Columns of each window that are inside.
    let inside: Vec<f32> = (0..columns)
        .map(|column| column * shape.stride)
        .map(|left| (left + 3 - shape.padding).min(width) - left.saturating_sub(shape.padding))
        .map(|count| count as f32)
        .collect();
    out.par_chunks_mut(rows * columns)
        .zip(x.par_chunks(height * width))
        .for_each_init(
            // A row with what is beside it; with stride and padding, some windows do not reach its end.
            || vec![nothing; width + 2],
            |line, (out, x)| {
                for (row, out) in out.chunks_exact_mut(columns).enumerate() {
                    let top = row * shape.stride;
                    let first = top.saturating_sub(shape.padding);
                    let last = (top + 3 - shape.padding).min(height);
                    down(
                        kind,
                        &x[first * width..last * width],
                        nothing,
                        &mut line[1..=width],
                    );
                    let from = 1 - shape.padding;
                    across(kind, &line[from..], shape.stride, out);
                    if kind == Pool::Mean {
                        divide(out, &inside, (last - first) as f32);
                    }
                }
            },
        );
    out
}

/// The larger, or the one that is no number.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

vectorised! {
    /// Each column of some rows, in one row.
    fn down(kind: Pool, rows: &[f32], nothing: f32, line: &mut [f32]) {
        line.fill(nothing);
        for row in rows.chunks_exact(line.len()) {
            match kind {
                Pool::Max => line.iter_mut().zip(row).for_each(|(a, &b)| *a = larger(*a, b)),
                Pool::Mean => line.iter_mut().zip(row).for_each(|(a, &b)| *a += b),
            }
        }
    }
}

vectorised! {
    /// Each three neighbours of a row, `stride` apart.
    fn across(kind: Pool, line: &[f32], stride: usize, out: &mut [f32]) {
        let windows = line.windows(3);
        match (kind, stride) {
            // The steps known, so that these vectorise.
            (Pool::Max, 1) => out.iter_mut().zip(windows).for_each(|(y, w)| *y = larger(larger(w[0], w[1]), w[2])),
            (Pool::Mean, 1) => out.iter_mut().zip(windows).for_each(|(y, w)| *y = w[0] + w[1] + w[2]),
            (Pool::Max, _) => {
                out.iter_mut().zip(windows.step_by(stride)).for_each(|(y, w)| *y = larger(larger(w[0], w[1]), w[2]));
            }
            (Pool::Mean, _) => out.iter_mut().zip(windows.step_by(stride)).for_each(|(y, w)| *y = w[0] + w[1] + w[2]),
        }
    }
}

vectorised! {
    /// Sums become means, of so many rows and as many columns as each has.
    fn divide(sums: &mut [f32], columns: &[f32], rows: f32) {
        sums.iter_mut().zip(columns).for_each(|(sum, columns)| *sum /= rows * columns);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_the_definition(
            planes in 0_usize..4, size in [3_usize..40, 3_usize..40], stride in 1_usize..4, padding in 0_usize..2, seed: u32,
        ) {
            let shape = PoolShape { planes, size, stride, padding };
            let [height, width] = size;
            let value = |i: usize| ((i as u32).wrapping_add(seed).wrapping_mul(2_654_435_761) >> 8) as f32 / 1e6 - 9.0;
            let x: Vec<f32> = (0..planes * height * width).map(value).collect();
            let [rows, columns] = shape.out_size();
            for kind in [Pool::Max, Pool::Mean] {
                let found = pool(kind, &shape, &x);
                prop_assert_eq!(found.len(), planes * rows * columns);
                for (i, found) in found.into_iter().enumerate() {
                    let (plane, row, column) = (i / rows / columns, i / columns % rows, i % columns);
                    let inside: Vec<f32> = (0..9)
                        .map(|k| (row * stride + k / 3, column * stride + k % 3))
                        .filter_map(|(y, x)| Some((y.checked_sub(padding)?, x.checked_sub(padding)?)))
                        .filter(|&(y, x)| y < height && x < width)
                        .map(|(y, at)| x[(plane * height + y) * width + at])
                        .collect();
                    let wanted = match kind {
                        Pool::Max => inside.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                        Pool::Mean => inside.iter().sum::<f32>() / inside.len() as f32,
                    };
                    prop_assert!((found - wanted).abs() < 1e-5, "{:?}: {} {}", kind, found, wanted);
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        let shape = PoolShape {
            planes: 1,
            size: [3, 3],
            stride: 1,
            padding: 0,
        };
        for at in 0..9 {
            let mut x = [1.0; 9];
            x[at] = f32::NAN;
            assert!(pool(Pool::Max, &shape, &x)[0].is_nan(), "at {at}");
            assert!(pool(Pool::Mean, &shape, &x)[0].is_nan(), "at {at}");
        }
    }
}
