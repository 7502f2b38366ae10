//! What is wrong with images that were given to train on.

use thiserror::Error;

use super::ImageShape;

/// Why images cannot be used for training.
#[derive(Debug, Error)]
pub enum DataError {
    /// Image bytes are no whole number of images.
    #[error(
        "{values} values are not those of {count} images of {channels}×{height}×{width}; give one label an image",
        channels = shape.channels, height = shape.height, width = shape.width
    )]
    Length {
        /// Values given.
        values: usize,
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
    /// Images are asked for of a class that there is none of.
    #[error("there are {num_classes} classes; give numbers from 0 to {}, not {class}", num_classes - 1)]
    NoClass {
        /// The class.
        class: usize,
        /// Classes declared.
        num_classes: usize,
    },
    /// Images are asked for of some classes, and there are none.
    #[error("its images have no classes; leave it out, or put each class into a sub-folder")]
    NoClasses,
    /// Images are asked for of a class that has none.
    #[error("no image is of class {class}; leave it out, or add images")]
    EmptyClass {
        /// The class.
        class: usize,
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
