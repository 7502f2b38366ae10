//! Many small images laid out as one picture.

use super::picture::Pixels;
use super::{Png, ReportError};

/// A batch of images, borrowed.
///
/// # Shapes
/// `[count, channels, height, width]`, one byte a value, channels 1 (grey) or 3 (RGB).
#[derive(Debug, Clone, Copy)]
pub struct Tiles<'a> {
    pixels: &'a [u8],
    count: usize,
    channels: usize,
    height: usize,
    width: usize,
}

/// How the images are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridStyle {
    /// Images a row; fewer images than that make a narrower grid.
    pub columns: usize,
    /// Pixels between two images and around them all, after enlargement.
    pub gap: usize,
    /// How many pixels wide and high one image pixel becomes; zero counts as one.
    pub upscale: usize,
    /// Grey level of the gaps.
    pub background: u8,
}

impl Default for GridStyle {
    fn default() -> Self {
        Self {
            columns: 10,
            gap: 2,
            upscale: 1,
            background: 255,
        }
    }
}

impl GridStyle {
    /// One image as it is: no gap, no scaling.
    pub const PLAIN: Self = Self {
        columns: 1,
        gap: 0,
        upscale: 1,
        background: 255,
    };

    /// Width and height of the picture of images `[count, channels, height, width]`.
    ///
    /// # Errors
    /// When it would be too large.
    pub fn size(&self, shape: [usize; 4]) -> Result<(usize, usize), ReportError> {
        let [count, channels, height, width] = shape;
        let columns = self.columns_for(count);
        let side = |tiles: usize, tile: usize| {
            let step = tile
                .saturating_mul(self.upscale.max(1))
                .saturating_add(self.gap);
            step.saturating_mul(tiles).saturating_add(self.gap)
        };
        let (width, height) = (side(columns, width), side(count.div_ceil(columns), height));
        let bytes = width
            .checked_mul(height)
            .and_then(|area| area.checked_mul(channels));
        if bytes.is_none_or(|bytes| bytes > MAX_BYTES) {
            return Err(ReportError::TooLarge {
                figure: "image grid".to_owned(),
                width,
                height,
            });
        }
        Ok((width, height))
    }

    fn columns_for(&self, count: usize) -> usize {
        self.columns.clamp(1, count.max(1))
    }
}

impl<'a> Tiles<'a> {
    /// Views `pixels` as images.
    ///
    /// # Errors
    /// When the shape does not match the number of values, is empty, or is neither grey nor RGB.
    pub fn new(pixels: &'a [u8], shape: [usize; 4]) -> Result<Self, ReportError> {
        let figure = || "image grid".to_owned();
        let [count, channels, height, width] = shape;
        if channels != 1 && channels != 3 {
            return Err(ReportError::Channels {
                figure: figure(),
                found: channels,
            });
        }
        let expected = shape
            .iter()
            .fold(1, |product: usize, &size| product.saturating_mul(size));
        if expected != pixels.len() {
            let shape = shape.to_vec();
            return Err(ReportError::Shape {
                figure: figure(),
                shape,
                expected,
                found: pixels.len(),
            });
        }
        if expected == 0 {
            return Err(ReportError::Empty { figure: figure() });
        }
        Ok(Self {
            pixels,
            count,
            channels,
            height,
            width,
        })
    }

    /// Lays the images out row by row; the last row may stay partly empty.
    ///
    /// # Errors
    /// When the picture would be too large.
    pub fn to_png(&self, style: &GridStyle) -> Result<Png, ReportError> {
        let shape = [self.count, self.channels, self.height, self.width];
        let (width, height) = style.size(shape)?;
        let (columns, upscale) = (style.columns_for(self.count), style.upscale.max(1));
        let mut canvas = vec![style.background; width * height * self.channels];
        for index in 0..self.count {
            let top = style.gap + (index / columns) * (self.height * upscale + style.gap);
            let left = style.gap + (index % columns) * (self.width * upscale + style.gap);
            for y in 0..self.height * upscale {
                let row = ((top + y) * width + left) * self.channels;
                let row = &mut canvas[row..row + self.width * upscale * self.channels];
                for (x, pixel) in row.chunks_exact_mut(self.channels).enumerate() {
                    for (channel, value) in pixel.iter_mut().enumerate() {
                        *value = self.at(index, channel, y / upscale, x / upscale);
                    }
                }
            }
        }
        let pixels = if self.channels == 1 {
            Pixels::Grey
        } else {
            Pixels::Rgb
        };
        Png::encode("image grid", (width, height), &pixels, &canvas)
    }

    fn at(&self, index: usize, channel: usize, y: usize, x: usize) -> u8 {
        self.pixels[((index * self.channels + channel) * self.height + y) * self.width + x]
    }
}

/// A picture of a gigabyte is a slip of the pen, not a figure.
const MAX_BYTES: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::super::picture::decode;
    use super::*;
    use png::ColorType;

    const TIGHT: GridStyle = GridStyle {
        columns: 2,
        gap: 1,
        upscale: 1,
        background: 9,
    };

    #[test]
    fn grey_images_stand_row_by_row_with_gaps() {
        // Three 1 x 2 images, two a row.
        let tiles = Tiles::new(&[10, 11, 20, 21, 30, 31], [3, 1, 1, 2]).unwrap();
        let (width, height, kind, data) = decode(tiles.to_png(&TIGHT).unwrap().as_bytes());
        assert_eq!((width, height, kind), (7, 5, ColorType::Grayscale));
        #[rustfmt::skip]
        assert_eq!(data, [
            9, 9,  9,  9, 9,  9,  9,
            9, 10, 11, 9, 20, 21, 9,
            9, 9,  9,  9, 9,  9,  9,
            9, 30, 31, 9, 9,  9,  9,
            9, 9,  9,  9, 9,  9,  9,
        ]);
    }

    #[test]
    fn planes_become_interleaved_rgb() {
        let tiles = Tiles::new(&[1, 2, 3, 4, 5, 6], [1, 3, 1, 2]).unwrap();
        let style = GridStyle { gap: 0, ..TIGHT };
        let (width, height, kind, data) = decode(tiles.to_png(&style).unwrap().as_bytes());
        assert_eq!((width, height, kind), (2, 1, ColorType::Rgb));
        assert_eq!(data, [1, 3, 5, 2, 4, 6]);
    }

    #[test]
    fn enlarging_repeats_pixels() {
        let tiles = Tiles::new(&[1, 2], [1, 1, 1, 2]).unwrap();
        let style = GridStyle {
            gap: 0,
            upscale: 2,
            ..TIGHT
        };
        let png = tiles.to_png(&style).unwrap();
        assert_eq!((png.width(), png.height()), (4, 2));
        assert_eq!(decode(png.as_bytes()).3, [1, 1, 2, 2, 1, 1, 2, 2]);
    }

    #[test]
    fn zero_columns_and_zero_scale_are_read_as_one() {
        let tiles = Tiles::new(&[1, 2], [2, 1, 1, 1]).unwrap();
        let png = tiles
            .to_png(&GridStyle {
                columns: 0,
                gap: 0,
                upscale: 0,
                background: 0,
            })
            .unwrap();
        assert_eq!((png.width(), png.height()), (1, 2));
    }

    #[test]
    fn wrong_shapes_are_named() {
        let error = Tiles::new(&[0; 5], [2, 1, 1, 3]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "image grid: shape [2, 1, 1, 3] asks for 6 values, 5 were given"
        );
        assert!(matches!(
            Tiles::new(&[0; 8], [2, 4, 1, 1]),
            Err(ReportError::Channels { found: 4, .. })
        ));
        assert!(matches!(
            Tiles::new(&[], [0, 1, 2, 2]),
            Err(ReportError::Empty { .. })
        ));
        assert!(matches!(
            Tiles::new(&[], [usize::MAX, 1, 2, 2]),
            Err(ReportError::Shape { .. })
        ));
    }

    #[test]
    fn a_huge_grid_is_refused_before_it_is_allocated() {
        let tiles = Tiles::new(&[0], [1, 1, 1, 1]).unwrap();
        let style = GridStyle {
            upscale: usize::MAX,
            ..TIGHT
        };
        assert!(matches!(
            tiles.to_png(&style),
            Err(ReportError::TooLarge { .. })
        ));
    }
}
