//! An image from a file, and the crop that image models are trained on.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result};
use dmp_math::resample::{Filter, resize_bytes};
use image::{DynamicImage, ImageDecoder, ImageReader};

/// An image of bytes, a plane a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// `[channels, height, width]`.
    pub planes: Vec<u8>,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Height and width.
    pub size: [usize; 2],
}

/// What images in a folder are called.
pub const ENDINGS: [&str; 5] = ["png", "jpg", "jpeg", "webp", "bmp"];

impl Picture {
    /// Reads an image file.
    pub fn read(path: &Path) -> Result<Self> {
        Self::decode(&std::fs::read(path).context("cannot be read")?)
    }

    /// The image that a file's bytes are, turned as its camera says. Sixteen bits become eight; grey stays grey;
    /// transparency is dropped.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()?
            .into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        let size = [image.height() as usize, image.width() as usize];
        Ok(if image.color().has_color() {
            Self::interleaved(image.to_rgb8().as_raw(), 3, size)
        } else {
            Self::interleaved(image.to_luma8().as_raw(), 1, size)
        })
    }

    /// From pixels `[height, width, channels]`.
    pub fn interleaved(pixels: &[u8], channels: usize, size: [usize; 2]) -> Self {
        let planes = (0..channels)
            .flat_map(|channel| pixels.iter().skip(channel).step_by(channels).copied())
            .collect();
        Self {
            planes,
            channels,
            size,
        }
    }

    /// Pixels `[height, width, channels]`.
    pub fn to_interleaved(&self) -> Vec<u8> {
        let plane = self.size[0] * self.size[1];
        (0..plane)
            .flat_map(|at| (0..self.channels).map(move |channel| channel * plane + at))
            .map(|at| self.planes[at])
            .collect()
    }

    /// The same with 3 channels (grey three times) or 1 (the luma that image programs use).
    #[must_use]
    pub fn with_channels(self, channels: usize) -> Self {
        let plane = self.size[0] * self.size[1];
        let planes = match (self.channels, channels) {
            (1, 3) => self.planes.repeat(3),
            (3, 1) => (0..plane)
                .map(|at| {
                    let [r, g, b] =
                        [0, 1, 2].map(|channel| u32::from(self.planes[channel * plane + at]));
                    // ITU-R 601, in 16 bits behind the point, as PIL has it.
                    ((19_595 * r + 38_470 * g + 7_471 * b + 0x8000) >> 16) as u8
                })
                .collect(),
            _ => return self,
        };
        Self {
            planes,
            channels,
            ..self
        }
    }

    /// ADM's centre crop: halved with boxes while the shorter side is at least twice `side`, then bicubic until it is
    /// `side`, then the middle.
    #[must_use]
    pub fn centre_crop(mut self, side: usize) -> Self {
        while self.size[0].min(self.size[1]) >= 2 * side {
            let half = self.size.map(|length| length / 2);
            self = self.resized(half, Filter::Box);
        }
        let scale = side as f64 / self.size[0].min(self.size[1]) as f64;
        // Python rounds halves to even.
        let size = self
            .size
            .map(|length| (length as f64 * scale).round_ties_even() as usize);
        self.resized(size, Filter::Bicubic).middle(side)
    }

    fn resized(self, to: [usize; 2], filter: Filter) -> Self {
        let plane = (self.size[0] * self.size[1]).max(1);
        let planes = self
            .planes
            .chunks(plane)
            .flat_map(|plane| resize_bytes(plane, self.size, to, filter))
            .collect();
        Self {
            planes,
            size: to,
            ..self
        }
    }

    fn middle(self, side: usize) -> Self {
        let [height, width] = self.size;
        let [top, left] = self.size.map(|length| (length - side) / 2);
        let planes = self
            .planes
            .chunks((height * width).max(1))
            .flat_map(|plane| plane.chunks(width).skip(top).take(side))
            .flat_map(|row| &row[left..left + side])
            .copied()
            .collect();
        Self {
            planes,
            size: [side; 2],
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_and_pixels_are_each_others_inverse() {
        let pixels: Vec<u8> = (0..24).collect();
        let picture = Picture::interleaved(&pixels, 3, [2, 4]);
        assert_eq!(picture.planes[..3], [0, 3, 6]);
        assert_eq!(picture.to_interleaved(), pixels);
    }

    #[test]
    fn grey_becomes_colour_and_back() {
        let grey = Picture {
            planes: vec![0, 100, 255, 7],
            channels: 1,
            size: [2, 2],
        };
        let colour = grey.clone().with_channels(3);
        assert_eq!(colour.planes.len(), 12);
        assert_eq!(colour.with_channels(1), grey);
    }
}
