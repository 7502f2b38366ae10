//! Resizing as PIL does it, to the bit: what data and evaluation of image models are defined with.

/// The kernel that an output pixel is a weighted mean with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The mean of what a pixel covers.
    Box,
    /// Keys' cubic with a = −1/2.
    Bicubic,
}

impl Filter {
    /// How far the kernel reaches, in output pixels.
    fn support(self) -> f64 {
        match self {
            Self::Box => 0.5,
            Self::Bicubic => 2.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        match self {
            Self::Box if x > -0.5 && x <= 0.5 => 1.0,
            Self::Box => 0.0,
            Self::Bicubic => cubic(x.abs()),
        }
    }
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Weights, of sum one, of the source pixels from `first` on.
struct Taps {
    first: usize,
    weights: Vec<f64>,
}

/// The taps of each of `to` pixels out of `from`; the kernel widens when an image shrinks.
fn taps(from: usize, to: usize, filter: Filter) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let widening = scale.max(1.0);
    let support = filter.support() * widening;
    (0..to)
        .map(|i| {
            let centre = (i as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let weights: Vec<f64> = (first..end)
                .map(|at| filter.at((at as f64 - centre + 0.5) / widening))
                .collect();
            let total: f64 = weights.iter().sum();
            Taps {
                first,
                weights: weights.iter().map(|weight| weight / total).collect(),
            }
        })
        .collect()
}

/// One channel of 32-bit floats, `[height, width]` → `to`: rows first; each pass is summed in f64 and stored in f32.
pub fn resize_floats(pixels: &[f32], size: [usize; 2], to: [usize; 2], filter: Filter) -> Vec<f32> {
    resize(pixels, size, to, filter, |taps, at| {
        let terms = taps.weights.iter().enumerate();
        terms
            .map(|(i, weight)| weight * f64::from(at(taps.first + i)))
            .sum::<f64>() as f32
    })
}

/// One channel of bytes: weights are rounded to 22 bits behind the point, and each pass to bytes.
pub fn resize_bytes(pixels: &[u8], size: [usize; 2], to: [usize; 2], filter: Filter) -> Vec<u8> {
    const BITS: u32 = 22;
    resize(pixels, size, to, filter, |taps, at| {
        let terms = taps.weights.iter().enumerate();
        let sum: i64 = terms
            .map(|(i, weight)| {
                let fixed = weight * f64::from(1 << BITS);
                let fixed = (fixed + 0.5f64.copysign(fixed)) as i64;
                fixed * i64::from(at(taps.first + i))
            })
            .sum();
        ((sum + (1 << (BITS - 1))) >> BITS).clamp(0, 255) as u8
    })
}

/// Along rows, then along columns; `mean` is the weighted mean of what its second argument gives.
fn resize<T: Copy>(
    pixels: &[T],
    [height, width]: [usize; 2],
    [rows, columns]: [usize; 2],
    filter: Filter,
    mean: impl Fn(&Taps, &dyn Fn(usize) -> T) -> T,
) -> Vec<T> {
    let across = taps(width, columns, filter);
    let mut narrowed = Vec::with_capacity(height * columns);
    for row in pixels.chunks_exact(width.max(1)).take(height) {
        narrowed.extend(across.iter().map(|taps| mean(taps, &|x| row[x])));
    }
    let mut out = Vec::with_capacity(rows * columns);
    for taps in &taps(height, rows, filter) {
        out.extend((0..columns).map(|x| mean(taps, &|y| narrowed[y * columns + x])));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_size_is_the_same_image() {
        let pixels: Vec<u8> = (0..35).map(|i| (i * 37 % 256) as u8).collect();
        for filter in [Filter::Box, Filter::Bicubic] {
            assert_eq!(resize_bytes(&pixels, [5, 7], [5, 7], filter), pixels);
        }
    }

    #[test]
    fn halving_with_boxes_takes_means() {
        let pixels = [0.0, 2.0, 10.0, 20.0, 4.0, 6.0, 30.0, 40.0];
        let halved = resize_floats(&pixels, [2, 4], [1, 2], Filter::Box);
        assert_eq!(halved, [3.0, 25.0]);
    }

    #[test]
    fn one_colour_stays_one_colour() {
        let grey = vec![77u8; 31 * 17];
        let resized = resize_bytes(&grey, [31, 17], [20, 40], Filter::Bicubic);
        assert!(resized.iter().all(|&pixel| pixel == 77));
    }
}
