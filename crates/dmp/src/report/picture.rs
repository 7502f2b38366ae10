//! Encoding of small pictures: grey, RGB, or palette indices.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use png::{BitDepth, ColorType, Compression, Encoder};

use super::ReportError;

/// The bytes of a PNG file with the size it is shown at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Png {
    bytes: Vec<u8>,
    width: u32,
    height: u32,
}

/// What one byte (grey, index) or three (RGB) of the pixel buffer mean.
pub(super) enum Pixels<'a> {
    Grey,
    Rgb,
    /// Indices into at most 256 colours.
    Indexed(&'a [[u8; 3]]),
}

impl Png {
    /// Encodes `data`, row after row from the top.
    pub(super) fn encode(
        figure: &str,
        (width, height): (usize, usize),
        pixels: &Pixels,
        data: &[u8],
    ) -> Result<Self, ReportError> {
        let too_large = || ReportError::TooLarge {
            figure: figure.to_owned(),
            width,
            height,
        };
        let (Ok(w), Ok(h)) = (u32::try_from(width), u32::try_from(height)) else {
            return Err(too_large());
        };
        // The format's own limit on either side.
        if w.max(h) > i32::MAX as u32 {
            return Err(too_large());
        }

        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, w, h);
        encoder.set_depth(BitDepth::Eight);
        encoder.set_compression(Compression::High);
        match pixels {
            Pixels::Grey => encoder.set_color(ColorType::Grayscale),
            Pixels::Rgb => encoder.set_color(ColorType::Rgb),
            Pixels::Indexed(palette) => {
                encoder.set_color(ColorType::Indexed);
                encoder.set_palette(palette.concat());
            }
        }
        encoder
            .write_header()
            .and_then(|mut writer| {
                writer.write_image_data(data)?;
                writer.finish()
            })
            .map_err(|error| ReportError::Backend {
                figure: figure.to_owned(),
                reason: error.to_string(),
            })?;
        Ok(Self {
            bytes,
            width: w,
            height: h,
        })
    }

    /// The file's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The picture as a `data:` address, for use inside a page or an SVG.
    #[must_use]
    pub fn data_uri(&self) -> String {
        format!("data:image/png;base64,{}", STANDARD.encode(&self.bytes))
    }
}

/// Width, height, colour type and raw pixels of a PNG: what the tests of every picture check.
#[cfg(test)]
pub(super) fn decode(bytes: &[u8]) -> (u32, u32, ColorType, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
        .read_info()
        .unwrap();
    let mut data = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut data).unwrap();
    data.truncate(info.buffer_size());
    (info.width, info.height, info.color_type, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_survive_the_file() {
        let data = [0, 50, 100, 150, 200, 250];
        let grey = Png::encode("grey", (3, 2), &Pixels::Grey, &data).unwrap();
        assert_eq!(
            decode(grey.as_bytes()),
            (3, 2, ColorType::Grayscale, data.to_vec())
        );
        let rgb = Png::encode("rgb", (1, 2), &Pixels::Rgb, &data).unwrap();
        assert_eq!(
            decode(rgb.as_bytes()),
            (1, 2, ColorType::Rgb, data.to_vec())
        );
        assert!(rgb.data_uri().starts_with("data:image/png;base64,iVBOR"));
    }

    #[test]
    fn a_buffer_of_the_wrong_length_is_an_error_not_a_panic() {
        let error = Png::encode("short", (3, 2), &Pixels::Grey, &[0; 5]).unwrap_err();
        assert!(matches!(error, ReportError::Backend { figure, .. } if figure == "short"));
    }
}
