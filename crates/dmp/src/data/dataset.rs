//! Images and labels in memory.

use dmp_model::checkpoint::hex;
use sha2::{Digest, Sha256};
use thiserror::Error;

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

/// Why images cannot be used for training.
#[derive(Debug, Error)]
pub enum DataError {
    /// Image bytes are no whole number of images.
    #[error(
        "{bytes} bytes of pixels are not {count} images of {channels}×{height}×{width}; give one label an image",
        channels = shape.channels, height = shape.height, width = shape.width
    )]
    Length {
        /// Bytes given.
        bytes: usize,
        /// Labels given, so images expected.
        count: usize,
        /// Size of one image.
        shape: ImageShape,
    },
    /// A label is not a class.
    #[error(
        "image {index} has label {label}, but there are {num_classes} classes; labels start at 0"
    )]
    Label {
        /// Which image.
        index: usize,
        /// Its label.
        label: u32,
        /// Classes declared.
        num_classes: usize,
    },
    /// Nothing to draw batches from.
    #[error("cannot draw batches of {batch} from {len} images; both must be at least 1")]
    EmptyBatch {
        /// Images in the dataset.
        len: usize,
        /// Images a batch should have.
        batch: usize,
    },
    /// The embedded picture does not decode.
    #[error(
        "the embedded demo images do not decode; rebuild them with `cargo xtask assets images`"
    )]
    Decode(#[from] image::ImageError),
    /// The embedded picture has another size.
    #[error(
        "the embedded demo images are {found_width}×{found_height} pixels, not {width}×{height}; \
         rebuild them with `cargo xtask assets images`"
    )]
    MontageSize {
        /// Width found.
        found_width: u32,
        /// Height found.
        found_height: u32,
        /// Width expected.
        width: u32,
        /// Height expected.
        height: u32,
    },
}

/// Images with their classes, held as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    images: Vec<u8>,
    labels: Vec<u32>,
    shape: ImageShape,
    num_classes: usize,
    oriented: bool,
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
        if images.len() != labels.len() * shape.len() {
            return Err(DataError::Length {
                bytes: images.len(),
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
            images,
            labels,
            shape,
            num_classes,
            oriented: false,
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
        hasher.update(&self.images);
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

    /// Pixels of image `index`, `[channels, height, width]`.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    pub fn image(&self, index: usize) -> &[u8] {
        let len = self.shape.len();
        &self.images[index * len..][..len]
    }

    /// Writes the images `indices`, scaled to [-1, 1] and mirrored left to right where `flips` says so, to
    /// `out`, `[indices, channels, height, width]`.
    ///
    /// # Panics
    /// When `flips` or `out` is not as long as `indices` asks for, or an index is not below
    /// [`len`](Self::len).
    pub fn fill_batch(&self, indices: &[usize], flips: &[bool], out: &mut [f32]) {
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
        for ((&index, &flip), out) in indices.iter().zip(flips).zip(images) {
            let rows = self.image(index).chunks_exact(self.shape.width);
            for (row, out) in rows.zip(out.chunks_exact_mut(self.shape.width)) {
                for (&pixel, out) in row.iter().zip(out.iter_mut()) {
                    *out = to_unit(pixel);
                }
                if flip {
                    out.reverse();
                }
            }
        }
    }
}

/// A byte scaled to [-1, 1]: pixel / 127.5 − 1.
pub fn to_unit(pixel: u8) -> f32 {
    f32::from(pixel) / 127.5 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape {
        channels: 2,
        height: 2,
        width: 3,
    };

    /// Three images whose pixels are 0, 1, 2, … 35.
    fn counting() -> Dataset {
        Dataset::new((0..36).collect(), vec![0, 1, 1], SHAPE, 2).unwrap()
    }

    #[test]
    fn a_batch_holds_the_images_asked_for_mirrored_row_by_row() {
        let mut out = vec![0.0; 24];
        counting().fill_batch(&[2, 0], &[false, true], &mut out);
        let pixels: Vec<f32> = out.iter().map(|x| ((x + 1.0) * 127.5).round()).collect();
        let first: Vec<f32> = (24..36).map(|x| x as f32).collect();
        assert_eq!(pixels[..12], first);
        assert_eq!(
            pixels[12..],
            [2.0, 1.0, 0.0, 5.0, 4.0, 3.0, 8.0, 7.0, 6.0, 11.0, 10.0, 9.0]
        );
    }

    #[test]
    fn black_and_white_scale_to_the_ends() {
        assert_eq!((to_unit(0), to_unit(255)), (-1.0, 1.0));
    }

    #[test]
    fn pixels_and_labels_must_agree() {
        let short = Dataset::new(vec![0; 35], vec![0, 1, 1], SHAPE, 2);
        assert!(matches!(
            short,
            Err(DataError::Length {
                bytes: 35,
                count: 3,
                ..
            })
        ));
        let label = Dataset::new(vec![0; 36], vec![0, 1, 2], SHAPE, 2);
        assert!(matches!(
            label,
            Err(DataError::Label {
                index: 2,
                label: 2,
                ..
            })
        ));
    }
}
