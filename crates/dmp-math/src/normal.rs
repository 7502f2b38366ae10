//! Standard normals from random words: Box–Muller with its own `ln`, `sin` and `cos`.
//!
//! The platform's mathematical library may differ in the last bit from one machine to the next, and so
//! would every image. Here each operation is an IEEE addition, multiplication, division or square root,
//! which round alike everywhere; the loops have no branches and vectorise. The polynomials are those of
//! the Cephes library (`logf`, `sinf`, `cosf`), good to about 1e-7.

use std::f32::consts::{FRAC_PI_2, SQRT_2};

/// Words to draw for `n` normals: they are made two by two, an odd last one is dropped.
pub(crate) const fn words_for(n: usize) -> usize {
    n.next_multiple_of(2)
}

/// `out[2i], out[2i+1]` = r cos θ, r sin θ from `words[2i]` (r) and `words[2i+1]` (θ).
///
/// `words` holds [`words_for`]`(out.len())` words. No value exceeds √(66 ln 2) ≈ 6.8.
pub(crate) fn fill(words: &[u32], out: &mut [f32]) {
    debug_assert_eq!(words.len(), words_for(out.len()));
    let (pairs, last) = out.as_chunks_mut::<2>();
    for (pair, words) in pairs.iter_mut().zip(words.as_chunks::<2>().0) {
        *pair = box_muller(*words);
    }
    if let ([last], [.., radius, angle]) = (last, words) {
        *last = box_muller([*radius, *angle])[0];
    }
}

#[inline(always)]
fn box_muller([radius, angle]: [u32; 2]) -> [f32; 2] {
    // (0, 1], never 0: the smallest is 2^-33.
    let uniform = (radius as f32 + 0.5) * 2.0_f32.powi(-32);
    let r = (-2.0 * ln(uniform)).sqrt();
    let (sin, cos) = sin_cos_turns(angle);
    [r * cos, r * sin]
}

/// ln x for normal x in (0, 1].
#[inline(always)]
fn ln(x: f32) -> f32 {
    // x = m · 2^e with m in [√½, √2).
    let bits = x.to_bits().wrapping_add(0x3f80_0000 - SQRT_HALF_BITS);
    let e = ((bits >> 23) as i32 - 127) as f32;
    let y = f32::from_bits((bits & 0x007f_ffff) + SQRT_HALF_BITS) - 1.0;
    let z = y * y;
    let mut p = 7.037_683_6e-2;
    for c in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        p = p * y + c;
    }
    // ln 2 in two parts, the first exact in a few bits.
    (y * z * p + e * -2.121_944_4e-4 - 0.5 * z) + y + e * 0.693_359_4
}

/// The bits of √½ as f32.
const SQRT_HALF_BITS: u32 = (SQRT_2 / 2.0).to_bits();

/// (sin, cos) of `word` / 2³² turns.
#[inline(always)]
fn sin_cos_turns(word: u32) -> (f32, f32) {
    // The nearest quarter turn, and what is left of it: [-2^29, 2^29) in units of 2^-32 turns.
    let quarter = word.wrapping_add(1 << 29) >> 30;
    let rest = word.wrapping_sub(quarter << 30) as i32;
    let x = rest as f32 * (FRAC_PI_2 * 2.0_f32.powi(-30));
    let z = x * x;
    let sin = ((-1.951_529_6e-4 * z + 8.332_161e-3) * z - 1.666_665_5e-1) * z * x + x;
    let cos = ((2.443_315_7e-5 * z - 1.388_731_6e-3) * z + 4.166_664_6e-2) * z * z - 0.5 * z + 1.0;
    let (s, c) = if quarter & 1 == 0 {
        (sin, cos)
    } else {
        (cos, sin)
    };
    // Quarters 2 and 3 turn the sine's sign, 1 and 2 the cosine's.
    let flip = |x: f32, on: u32| f32::from_bits(x.to_bits() ^ (on << 31));
    (
        flip(s, (quarter >> 1) & 1),
        flip(c, ((quarter + 1) >> 1) & 1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_extremes_are_finite() {
        for word in [0, 1, u32::MAX - 1, u32::MAX] {
            for angle in [0, 1 << 29, 1 << 30, 1 << 31, u32::MAX] {
                let [a, b] = box_muller([word, angle]);
                assert!(
                    a.is_finite() && b.is_finite() && a.hypot(b) < 6.8,
                    "{word} {angle}"
                );
            }
        }
    }

    #[test]
    fn an_odd_length_is_a_prefix_of_the_even_one() {
        let words = [1, 2, 3, 4].map(|i: u32| i.wrapping_mul(0x9e37_79b9));
        let (mut three, mut four) = ([0.0; 3], [0.0; 4]);
        fill(&words, &mut three);
        fill(&words, &mut four);
        assert_eq!(three, four[..3]);
        fill(&[], &mut []);
    }

    proptest! {
        #[test]
        fn ln_agrees_with_f64(word: u32) {
            let x = (word as f32 + 0.5) * 2.0_f32.powi(-32);
            let exact = f64::from(x).ln();
            prop_assert!((f64::from(ln(x)) - exact).abs() <= 2e-7 * exact.abs(), "{x}");
        }

        #[test]
        fn sin_and_cos_agree_with_f64(word: u32) {
            let (sin, cos) = sin_cos_turns(word);
            let theta = f64::from(word) / 2.0_f64.powi(32) * std::f64::consts::TAU;
            prop_assert!((f64::from(sin) - theta.sin()).abs() < 2e-7);
            prop_assert!((f64::from(cos) - theta.cos()).abs() < 2e-7);
        }
    }
}
