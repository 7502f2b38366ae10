//! An image from a file, and the crop that image models are trained on.

mod jpeg;

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use dmp_math::resample::{Filter, resize_bytes};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

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

/// How many times the shorter side the longer one may be: the crop makes the shorter one as long as it should be first.
const MOST_RATIO: usize = 100;

/// Bytes that an image's pixels may take: what a file says is made room for.
const MOST_BYTES: u64 = 1 << 30;

/// Refuses what is a line rather than an image; `size` is height and width.
pub fn ensure_ratio(size: [usize; 2]) -> Result<()> {
    let [height, width] = size;
    ensure!(
        height.max(width) <= MOST_RATIO.saturating_mul(height.min(width)),
        "is {width}x{height} pixels; one side may be {MOST_RATIO} times the other, crop it"
    );
    Ok(())
}

impl Picture {
    /// Reads an image file.
    pub fn read(path: &Path) -> Result<Self> {
        Self::decode(&std::fs::read(path).context("cannot be read")?)
    }

    /// The image that a file's bytes are, turned as its camera says. Sixteen bits become eight; grey stays grey;
    /// transparency is dropped.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        // Its words hold those of its causes.
        let said = |error: image::ImageError| anyhow!("{error}");
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
        ensure!(
            reader.format() != Some(ImageFormat::Jpeg) || jpeg::is_whole(bytes),
            "the JPEG is cut off: the marker that ends it is missing"
        );
        let mut decoder = reader.into_decoder().map_err(said)?;
        let bytes = decoder.total_bytes();
        ensure!(
            bytes <= MOST_BYTES,
            "has pixels of {bytes} bytes; at most {MOST_BYTES} are read, make it smaller"
        );
        let (width, height) = decoder.dimensions();
        ensure_ratio([height as usize, width as usize])?;
        let orientation = decoder.orientation().map_err(said)?;
        let mut image = DynamicImage::from_decoder(decoder).map_err(said)?;
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

    /// A PNG's header that says this size, and a few pixels.
    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let image = image::GrayImage::new(1, 1);
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        let mut bytes = bytes.into_inner();
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let sum = crc(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The check that ends a PNG's chunk.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
                (sum >> 1) ^ (0xedb8_8320 * (sum & 1))
            })
        })
    }

    #[test]
    fn what_takes_too_much_memory_is_refused() {
        assert!(Picture::decode(&png(1, 1)).is_ok());
        let refused = |width, height| {
            Picture::decode(&png(width, height))
                .unwrap_err()
                .to_string()
        };
        let error = refused(60_000, 1);
        assert!(error.contains("60000x1"), "{error}");
        let error = refused(60_000, 50_000);
        assert!(error.contains("3000000000 bytes"), "{error}");
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
