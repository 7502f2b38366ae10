//! Random mirroring and small shifts of training images.

use dmp::data::to_unit;
use dmp_math::seed::Stream;

const SIDE: usize = 28;
/// Farthest shift in either direction, pixels.
const REACH: u64 = 1;

/// Scales `image`, `[28, 28]`, to [-1, 1] in `out`, mirrored half of the time and shifted by up to 1 pixel
/// each way; what is shifted in is background.
pub fn augment(image: &[u8], random: &mut Stream, out: &mut [f32]) {
    let mirror = random.below(2) == 1;
    // Pixel (y, x) comes from (y + down − REACH, x + right − REACH).
    let (down, right) = (random.below(2 * REACH + 1), random.below(2 * REACH + 1));
    for (y, row) in out.chunks_exact_mut(SIDE).enumerate() {
        for (x, out) in row.iter_mut().enumerate() {
            let x = if mirror { SIDE - 1 - x } else { x };
            *out = to_unit(pixel(image, shifted(y, down), shifted(x, right)));
        }
    }
}

fn shifted(at: usize, by: u64) -> Option<usize> {
    (at + by as usize).checked_sub(REACH as usize)
}

/// The pixel there, or background beyond the edge.
fn pixel(image: &[u8], y: Option<usize>, x: Option<usize>) -> u8 {
    match (y, x) {
        (Some(y), Some(x)) if y < SIDE && x < SIDE => image[y * SIDE + x],
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use dmp_math::seed::{Purpose, stream};

    use super::*;

    #[test]
    fn a_pixel_moves_by_up_to_one_and_may_be_mirrored() {
        let mut image = vec![0; SIDE * SIDE];
        image[10 * SIDE + 5] = 255;
        let mut seen = std::collections::BTreeSet::new();
        for draw in 0..1000 {
            let mut out = vec![0.0; SIDE * SIDE];
            augment(&image, &mut stream(0, Purpose::Flip, draw), &mut out);
            let lit: Vec<usize> = (0..out.len()).filter(|&at| out[at] == 1.0).collect();
            assert_eq!(lit.len(), 1);
            seen.insert((lit[0] / SIDE, lit[0] % SIDE));
        }
        let columns = (4..=6).chain(21..=23);
        let expected = (9..=11).flat_map(|y| columns.clone().map(move |x| (y, x)));
        assert_eq!(seen, expected.collect());
    }
}
