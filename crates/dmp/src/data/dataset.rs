//! Images, or the latents of images, and labels in memory.

use dmp_math::seed::Stream;
use dmp_model::checkpoint::hex;
use sha2::{Digest, Sha256};

use super::{Classes, DataError};

/// Size of every image of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// Colour channels: 1 for grey, 3 for RGB.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
}

impl ImageShape {
    /// Values of one image, channels × height × width.
    pub fn len(self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether an image has no values.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Images with their classes, held as bytes, or what an autoencoder says of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    values: Values,
    labels: Vec<u32>,
    shape: ImageShape,
    num_classes: usize,
    oriented: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
    /// `[count, channels, height, width]`.
    Pixels(Vec<u8>),
    /// Of as many images.
    Latents(Latents),
}

/// What an autoencoder says of images: a Gaussian a latent, both `[count, 2, channels, height, width]`: each image as it is,
/// and mirrored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latents {
    /// Means.
    pub mean: Vec<f32>,
    /// Standard deviations.
    pub std: Vec<f32>,
}

impl Dataset {
    /// Joins pixels `[count, channels, height, width]` and labels `[count]`.
    ///
    /// # Errors
    /// When the pixels are not one image a label, or a label is not below `num_classes`.
    pub fn new(
        images: Vec<u8>,
        labels: Vec<u32>,
        shape: ImageShape,
        num_classes: usize,
    ) -> Result<Self, DataError> {
        Self::joined(Values::Pixels(images), labels, shape, num_classes)
    }

    /// Joins latents, each image's as it is and mirrored, and labels `[count]`.
    ///
    /// # Errors
    /// When there are not two latents a label, or a label is not below `num_classes`.
    pub fn of_latents(
        latents: Latents,
        labels: Vec<u32>,
        shape: ImageShape,
        num_classes: usize,
    ) -> Result<Self, DataError> {
        Self::joined(Values::Latents(latents), labels, shape, num_classes)
    }

    fn joined(
        values: Values,
        labels: Vec<u32>,
        shape: ImageShape,
        num_classes: usize,
    ) -> Result<Self, DataError> {
        let (found, each) = match &values {
            Values::Pixels(pixels) => (pixels.len(), shape.len()),
            Values::Latents(Latents { mean, std }) => (mean.len().min(std.len()), 2 * shape.len()),
        };
        if found != each * labels.len() {
            return Err(DataError::Length {
                values: found,
                count: labels.len(),
                shape,
            });
        }
        if let Some((index, &label)) =
            (labels.iter().enumerate()).find(|&(_, &label)| label as usize >= num_classes)
        {
            return Err(DataError::Label {
                index,
                label,
                num_classes,
            });
        }
        Ok(Self {
            values,
            labels,
            shape,
            num_classes,
            oriented: false,
        })
    }

    /// The images of some classes, in their order. Labels stay what they are.
    ///
    /// # Errors
    /// When a class is none of the data's, or no image is of it.
    pub fn of_classes(self, classes: &Classes) -> Result<Self, DataError> {
        let kept = classes.among(&self.labels, self.num_classes)?;
        let size = self.shape.len();
        let values = match &self.values {
            Values::Pixels(pixels) => Values::Pixels(rows(pixels, size, &kept)),
            Values::Latents(Latents { mean, std }) => Values::Latents(Latents {
                mean: rows(mean, 2 * size, &kept),
                std: rows(std, 2 * size, &kept),
            }),
        };
        Ok(Self {
            values,
            labels: rows(&self.labels, 1, &kept),
            ..self
        })
    }

    /// The same images, declared to have a left and a right that mean something.
    pub fn oriented(self) -> Self {
        Self {
            oriented: true,
            ..self
        }
    }

    /// Whether a mirrored image is no image of this set, so that none should be mirrored by default.
    pub fn is_oriented(&self) -> bool {
        self.oriented
    }

    /// SHA-256, in hexadecimal, of shape, labels and pixels: what identifies the images whatever they came in.
    pub fn fingerprint(&self) -> String {
        let mut hasher = Sha256::new();
        for size in [self.shape.channels, self.shape.height, self.shape.width] {
            hasher.update((size as u64).to_le_bytes());
        }
        self.labels
            .iter()
            .for_each(|label| hasher.update(label.to_le_bytes()));
        match &self.values {
            Values::Pixels(pixels) => hasher.update(pixels),
            Values::Latents(Latents { mean, std }) => {
                for value in mean.iter().chain(std) {
                    hasher.update(value.to_le_bytes());
                }
            }
        }
        hex(&hasher.finalize())
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Size of every image.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// Number of classes; labels are below it.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// Labels, `[count]`.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Whether an image is drawn from what an autoencoder says of it.
    pub fn is_of_latents(&self) -> bool {
        matches!(self.values, Values::Latents(_))
    }

    /// Pixels of image `index`, `[channels, height, width]`; `None` of latents.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    pub fn pixels(&self, index: usize) -> Option<&[u8]> {
        let len = self.shape.len();
        match &self.values {
            Values::Pixels(pixels) => Some(&pixels[index * len..][..len]),
            Values::Latents(_) => None,
        }
    }

    /// Writes the images `indices`, scaled to [-1, 1] and mirrored left to right where `flips` says so, to
    /// `out`, `[indices, channels, height, width]`. A latent is drawn from its Gaussian with the random stream that
    /// `stream_of` gives for its place in `indices`.
    ///
    /// # Panics
    /// When `flips` or `out` is not as long as `indices` asks for, or an index is not below
    /// [`len`](Self::len).
    pub fn fill_batch(
        &self,
        indices: &[usize],
        flips: &[bool],
        stream_of: impl Fn(usize) -> Stream,
        out: &mut [f32],
    ) {
        assert_eq!(flips.len(), indices.len(), "one flip an image");
        assert_eq!(
            out.len(),
            indices.len() * self.shape.len(),
            "one value a pixel"
        );
        if self.shape.is_empty() {
            return;
        }
        let images = out.chunks_exact_mut(self.shape.len());
        let wanted = indices.iter().zip(flips).zip(images).enumerate();
        for (place, ((&index, &flip), out)) in wanted {
            match &self.values {
                Values::Pixels(pixels) => {
                    let pixels = &pixels[index * self.shape.len()..][..self.shape.len()];
                    scaled(pixels, self.shape.width, flip, out);
                }
                Values::Latents(latents) => {
                    let row = 2 * index + usize::from(flip);
                    let values = row * self.shape.len()..(row + 1) * self.shape.len();
                    stream_of(place).fill_normal(out);
                    let mean = &latents.mean[values.clone()];
                    let gaussian = mean.iter().zip(&latents.std[values]);
                    for (out, (mean, std)) in out.iter_mut().zip(gaussian) {
                        *out = mean + std * *out;
                    }
                }
            }
        }
    }
}

/// Some rows of `[count, width]`.
fn rows<T: Copy>(values: &[T], width: usize, kept: &[usize]) -> Vec<T> {
    let mut found = Vec::with_capacity(kept.len() * width);
    kept.iter()
        .for_each(|&row| found.extend_from_slice(&values[row * width..][..width]));
    found
}

/// Writes pixels, scaled, row by row; each row from its end where they are to be mirrored.
fn scaled(pixels: &[u8], width: usize, flip: bool, out: &mut [f32]) {
    let rows = pixels.chunks_exact(width);
    for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
        for (&pixel, out) in row.iter().zip(out.iter_mut()) {
            *out = to_unit(pixel);
        }
        if flip {
            out.reverse();
        }
    }
}

/// A byte scaled to [-1, 1]: pixel / 127.5 − 1.
pub fn to_unit(pixel: u8) -> f32 {
    f32::from(pixel) / 127.5 - 1.0
}

#[cfg(test)]
mod tests;
