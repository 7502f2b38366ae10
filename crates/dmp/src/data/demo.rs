//! What is embedded in the binary: a dataset and what to measure samples with, so that `dmp demo` needs no
//! download. Sources, licences and hashes are in `assets/NOTICE`.

use image::ImageFormat;

use super::{DataError, Dataset, ImageShape};

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
    Dataset::new(pixels, labels, SHAPE, NUM_CLASSES)
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
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    // The hash is of the published pixels, put together by another program than `cargo xtask`.
    #[test]
    fn the_embedded_images_are_the_published_ones() {
        let data = images().unwrap();
        assert_eq!((data.len(), data.num_classes()), (20_000, 10));
        let mut sha256 = Sha256::new();
        (0..data.len()).for_each(|index| sha256.update(data.image(index)));
        let hex: String = sha256
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "d46f1c3f46046045ec1c765199e768eb979293d96e4a55081d0c0c9b84708467"
        );
    }

    #[test]
    fn a_montage_is_cut_image_by_image() {
        let shape = ImageShape {
            channels: 1,
            height: 2,
            width: 2,
        };
        let montage = [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15];
        assert_eq!(cut(&montage, shape, 2), (0..16).collect::<Vec<u8>>());
    }
}
