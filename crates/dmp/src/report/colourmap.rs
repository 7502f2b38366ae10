//! A perceptually uniform colour map.
//!
//! The ramp is a curve in OKLCh (Ottosson 2020): lightness rises in equal steps, so equal
//! differences of value look equally different and a grey print keeps the order, while the hue
//! turns from violet over teal to yellow.

/// Number of colours, one for each value of a byte.
pub(super) const COLOURS: usize = 256;

/// The colour map, darkest first, in sRGB.
pub(super) fn palette() -> Vec<[u8; 3]> {
    (0..COLOURS)
        .map(|index| colour(index as f64 / (COLOURS - 1) as f64))
        .collect()
}

/// The index of the colour for `value` on a scale from `low` to `high`; values outside take the end
/// colours.
///
/// An empty scale (all values alike) takes the middle colour, and so does a value that is no
/// number.
pub(super) fn index(value: f32, low: f32, high: f32) -> u8 {
    let fraction = (f64::from(value) - f64::from(low)) / (f64::from(high) - f64::from(low));
    if fraction.is_nan() {
        128
    } else {
        (fraction.clamp(0.0, 1.0) * 255.0).round() as u8
    }
}

fn colour(t: f64) -> [u8; 3] {
    let lightness = 0.24 + 0.70 * t;
    let hue = (305.0 - 200.0 * t.powf(1.1)).to_radians();
    // Most chroma that stays inside sRGB along this hue: little at the dark and the teal, much at
    // the yellow end.
    let chroma = 0.105 + 0.045 * (2.0 * t - 1.0).powi(2);
    oklab_to_srgb([lightness, chroma * hue.cos(), chroma * hue.sin()])
}

/// OKLab to gamma-encoded sRGB bytes, clipped to the gamut.
fn oklab_to_srgb([l, a, b]: [f64; 3]) -> [u8; 3] {
    let cube = |a_weight: f64, b_weight: f64| (l + a_weight * a + b_weight * b).powi(3);
    let long = cube(0.396_337_777_4, 0.215_803_757_3);
    let medium = cube(-0.105_561_345_8, -0.063_854_172_8);
    let short = cube(-0.089_484_177_5, -1.291_485_548);
    [
        4.076_741_662_1 * long - 3.307_711_591_3 * medium + 0.230_969_929_2 * short,
        -1.268_438_004_6 * long + 2.609_757_401_1 * medium - 0.341_319_396_5 * short,
        -0.004_196_086_3 * long - 0.703_418_614_7 * medium + 1.707_614_701 * short,
    ]
    .map(|linear| {
        let encoded = if linear <= 0.003_130_8 {
            12.92 * linear
        } else {
            1.055 * linear.powf(1.0 / 2.4) - 0.055
        };
        (encoded.clamp(0.0, 1.0) * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CIE L* from sRGB bytes: an independent measure of perceived lightness.
    fn cie_lightness(rgb: [u8; 3]) -> f64 {
        let [r, g, b] = rgb.map(|byte| {
            let value = f64::from(byte) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        });
        let luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        if luminance > 0.008_856 {
            116.0 * luminance.cbrt() - 16.0
        } else {
            903.3 * luminance
        }
    }

    #[test]
    fn lightness_rises_in_even_steps() {
        let lightness: Vec<f64> = palette().into_iter().map(cie_lightness).collect();
        assert!(
            lightness[0] < 20.0 && lightness[255] > 88.0,
            "{} {}",
            lightness[0],
            lightness[255]
        );
        let steps: Vec<f64> = (0..8)
            .map(|eighth| lightness[eighth * 32 + 31] - lightness[eighth * 32])
            .collect();
        let (least, most) = steps
            .iter()
            .fold((f64::MAX, f64::MIN), |(a, b), &s| (a.min(s), b.max(s)));
        assert!(least > 0.0 && most / least < 1.6, "{steps:?}");
    }

    #[test]
    fn values_meet_their_colours() {
        assert_eq!(
            [0.0, 0.5, 1.0, -3.0, 9.0].map(|v| index(v, 0.0, 1.0)),
            [0, 128, 255, 0, 255]
        );
        assert_eq!(index(0.25, 0.25, 0.25), 128);
        assert_eq!(index(f32::NAN, 0.0, 1.0), 128);
    }
}
