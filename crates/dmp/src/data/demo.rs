//! What is embedded in the binary: a dataset and what to measure samples with, so that `dmp demo` needs no
//! download. Sources, licences and hashes are in `assets/NOTICE`.

use burn::tensor::Device;
use dmp_math::moments::Gaussian;
use dmp_model::checkpoint::hex;
use dmp_model::features::{FashionCnn, FeatureError};
use image::ImageFormat;
use sha2::{Digest, Sha256};

use super::statistics::{self, StatisticsError, by_class};

pub use super::statistics::Split;
use super::{Classes, DataError, Dataset, ImageShape};

/// Images of each class among the embedded ones: the first of Fashion-MNIST's training images.
pub const IMAGES_PER_CLASS: usize = 2_000;
/// Classes of the embedded images.
pub const NUM_CLASSES: usize = 10;
/// Size of the embedded images.
pub const SHAPE: ImageShape = ImageShape {
    channels: 1,
    height: 28,
    width: 28,
};

/// 20 000 images as one grey picture: row of images = class, column = number within the class.
const IMAGES: &[u8] = include_bytes!("../../../../assets/fashion.png");

/// The class-conditional backbone that `--model demo` names: a file of [`dmp_model::checkpoint`].
pub const BACKBONE: &[u8] = include_bytes!("../../../../assets/backbone.safetensors");

/// The classifier whose hidden layer distances are measured in.
const FEATURES: &[u8] = include_bytes!("../../../../assets/features.safetensors");
/// Mean and covariance of the features of three sets of images.
const STATISTICS: &[u8] = include_bytes!("../../../../assets/statistics.safetensors");
/// The same of each class of theirs.
const CLASS_STATISTICS: &[u8] = include_bytes!("../../../../assets/class-statistics.safetensors");

/// The embedded feature network.
///
/// # Errors
/// When the embedded file is of another network, which tests rule out.
pub fn features(device: &Device) -> Result<FashionCnn, FeatureError> {
    FashionCnn::from_safetensors(FEATURES, device)
}

/// Mean and covariance of the embedded network's features over `split`, or over its images of some classes.
///
/// # Errors
/// When there is no such class, or the embedded file is malformed or of another network's features, which tests rule out.
pub fn statistics(split: Split, classes: Option<&Classes>) -> Result<Gaussian, StatisticsError> {
    let network = hex(&Sha256::digest(FEATURES));
    match classes {
        None => statistics::read(STATISTICS, split, &network),
        Some(classes) => by_class::read(CLASS_STATISTICS, split, classes, &network),
    }
}

/// The embedded images in class order: image i is of class i / 2 000.
///
/// # Errors
/// When the embedded picture does not decode, which tests rule out.
pub fn images() -> Result<Dataset, DataError> {
    let montage = image::load_from_memory_with_format(IMAGES, ImageFormat::Png)?.into_luma8();
    let width = (IMAGES_PER_CLASS * SHAPE.width) as u32;
    let height = (NUM_CLASSES * SHAPE.height) as u32;
    if montage.dimensions() != (width, height) {
        return Err(DataError::MontageSize {
            found_width: montage.width(),
            found_height: montage.height(),
            width,
            height,
        });
    }
    let pixels = cut(montage.as_raw(), SHAPE, IMAGES_PER_CLASS);
    let labels = (0..NUM_CLASSES as u32)
        .flat_map(|class| std::iter::repeat_n(class, IMAGES_PER_CLASS))
        .collect();
    // Every shoe points to the left.
    Ok(Dataset::new(pixels, labels, SHAPE, NUM_CLASSES)?.oriented())
}

/// Cuts a montage of grey images, `columns` to a row, into `[count, height, width]`.
fn cut(montage: &[u8], shape: ImageShape, columns: usize) -> Vec<u8> {
    let pitch = columns * shape.width;
    let mut pixels = Vec::with_capacity(montage.len());
    for band in montage.chunks_exact(pitch * shape.height) {
        for column in 0..columns {
            for row in band.chunks_exact(pitch) {
                pixels.extend_from_slice(&row[column * shape.width..][..shape.width]);
            }
        }
    }
    pixels
}

#[cfg(test)]
mod tests;
