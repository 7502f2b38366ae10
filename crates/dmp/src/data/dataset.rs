//! Images, or the latents of images, and labels in memory.

use dmp_math::seed::Stream;
use dmp_model::checkpoint::hex;
use sha2::{Digest, Sha256};

use super::DataError;

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
mod tests {
    use dmp_math::seed::{Purpose, stream};

    use super::*;

    const SHAPE: ImageShape = ImageShape {
        channels: 2,
        height: 2,
        width: 3,
    };

    fn one(place: usize) -> Stream {
        stream(1, Purpose::Latent, place as u64)
    }

    #[test]
    fn a_latent_is_drawn_from_its_own_gaussian() {
        let row = |image: usize, flip: usize| (10 * image + 100 * flip) as f32;
        let rows = [row(0, 0), row(0, 1), row(1, 0), row(1, 1)];
        let latents = Latents {
            mean: rows.iter().flat_map(|&value| [value; 12]).collect(),
            std: rows.iter().flat_map(|&value| [value / 100.0; 12]).collect(),
        };
        let data = Dataset::of_latents(latents.clone(), vec![0, 1], SHAPE, 2).unwrap();
        assert_eq!(data.pixels(0), None);
        let mut out = vec![0.0; 24];
        data.fill_batch(&[1, 0], &[true, false], one, &mut out);
        let mut noise = [0.0; 12];
        one(0).fill_normal(&mut noise);
        for (value, noise) in out.iter().zip(noise) {
            assert!((value - (110.0 + 1.1 * noise)).abs() < 1e-5, "{value}");
        }
        assert_eq!(out[12..], [0.0; 12]);
        let other = Latents {
            std: vec![0.0; 48],
            ..latents.clone()
        };
        let other = Dataset::of_latents(other, vec![0, 1], SHAPE, 2).unwrap();
        assert_ne!(other.fingerprint(), data.fingerprint());
        assert!(Dataset::of_latents(latents, vec![0], SHAPE, 2).is_err());
    }

    /// Three images whose pixels are 0, 1, 2, … 35.
    fn counting() -> Dataset {
        Dataset::new((0..36).collect(), vec![0, 1, 1], SHAPE, 2).unwrap()
    }

    #[test]
    fn a_batch_holds_the_images_asked_for_mirrored_row_by_row() {
        let mut out = vec![0.0; 24];
        counting().fill_batch(&[2, 0], &[false, true], one, &mut out);
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
                values: 35,
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
