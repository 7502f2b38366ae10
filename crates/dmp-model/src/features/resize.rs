//! Images as Inception takes them. FID papers disagree because evaluators resize differently; each way here is named
//! after the program it reproduces.

use std::fmt;
use std::str::FromStr;

use dmp_math::resample::{Filter, resize_floats};
use serde::{Deserialize, Serialize};

/// How images become Inception's input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preprocess {
    /// TensorFlow 1's bilinear resize, corners at corners; then (x − 128)/128.
    #[default]
    TorchFidelity,
    /// PyTorch's bilinear resize, pixels as areas, of [0, 1]; then 2x − 1.
    PytorchFid,
    /// PIL's bicubic resize with antialiasing, in f32 and not rounded; then (x − 128)/128.
    Clean,
}

impl Preprocess {
    /// Every way, in the order messages list them.
    pub const ALL: [Self; 3] = [Self::TorchFidelity, Self::PytorchFid, Self::Clean];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TorchFidelity => "torch-fidelity",
            Self::PytorchFid => "pytorch-fid",
            Self::Clean => "clean",
        }
    }

    /// One channel of `[height, width]` bytes resized to `[side, side]` and scaled.
    pub fn channel(self, pixels: &[u8], [height, width]: [usize; 2], side: usize) -> Vec<f32> {
        let pixels: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel)).collect();
        let size = [height, width];
        match self {
            Self::TorchFidelity => scaled(
                bilinear(&pixels, size, side, |i, scale| i as f32 * scale),
                |x| (x - 128.0) / 128.0,
            ),
            Self::PytorchFid => {
                let unit: Vec<f32> = pixels.iter().map(|x| x / 255.0).collect();
                let position = |i: usize, scale: f32| ((i as f32 + 0.5) * scale - 0.5).max(0.0);
                scaled(bilinear(&unit, size, side, position), |x| 2.0 * x - 1.0)
            }
            Self::Clean => scaled(
                resize_floats(&pixels, size, [side; 2], Filter::Bicubic),
                |x| (x.clamp(0.0, 255.0) - 128.0) / 128.0,
            ),
        }
    }
}

impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preprocess {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|way| way.name() == name)
            .ok_or_else(|| {
                format!("unknown preprocessing '{name}'; use torch-fidelity, pytorch-fid or clean")
            })
    }
}

fn scaled(mut values: Vec<f32>, scale: impl Fn(f32) -> f32) -> Vec<f32> {
    values.iter_mut().for_each(|x| *x = scale(*x));
    values
}

/// Between which two source pixels an output pixel lies, and how far from the first.
struct Between {
    low: usize,
    high: usize,
    part: f32,
}

fn between(length: usize, side: usize, position: impl Fn(usize, f32) -> f32) -> Vec<Between> {
    let scale = length as f32 / side as f32;
    (0..side)
        .map(|i| {
            let at = position(i, scale);
            let low = (at as usize).min(length - 1);
            Between {
                low,
                high: (low + 1).min(length - 1),
                part: at - low as f32,
            }
        })
        .collect()
}

/// Bilinear, in f32; `position` says where in the source an output pixel is.
fn bilinear(
    pixels: &[f32],
    [height, width]: [usize; 2],
    side: usize,
    position: impl Fn(usize, f32) -> f32 + Copy,
) -> Vec<f32> {
    let (rows, columns) = (
        between(height, side, position),
        between(width, side, position),
    );
    let mut out = Vec::with_capacity(side * side);
    for row in &rows {
        let (above, below) = (&pixels[row.low * width..], &pixels[row.high * width..]);
        for column in &columns {
            let mix = |line: &[f32]| {
                line[column.low] + (line[column.high] - line[column.low]) * column.part
            };
            let (above, below) = (mix(above), mix(below));
            out.push(above + (below - above) * row.part);
        }
    }
    out
}
