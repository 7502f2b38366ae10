//! Images one by one, whatever they come from.

use std::path::Path;

use anyhow::{Context, Result};
use dmp_model::denoiser::ImageLayout;

use crate::data::array::ImageArray;
use crate::data::picture::{Picture, images_in};
use crate::sampling::{SampledBatch, Sampling};

/// Images, and how many there will be.
pub struct Pictures<'a> {
    /// How many.
    pub count: usize,
    images: Box<dyn Iterator<Item = Result<Picture>> + 'a>,
}

impl Iterator for Pictures<'_> {
    type Item = Result<Picture>;

    fn next(&mut self) -> Option<Self::Item> {
        self.images.next()
    }
}

impl<'a> Pictures<'a> {
    /// All images in a folder and the folders in it, in the order of their paths.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        let paths = images_in(folder)?;
        Ok(Self {
            count: paths.len(),
            images: Box::new(paths.into_iter().map(|path| {
                Picture::read(&path).with_context(|| {
                    format!("{}: cannot be read as an image; remove it", path.display())
                })
            })),
        })
    }

    /// Those of an `.npz`; see [`ImageArray`].
    pub fn in_array(path: &Path) -> Result<Self> {
        let array = ImageArray::read(path)?;
        Ok(Self {
            count: array.count,
            images: Box::new((0..array.count).map(move |index| Ok(array.picture(index)))),
        })
    }

    /// The `count` images of this layout that are drawn.
    pub fn drawn(sampling: Sampling<'a>, layout: ImageLayout, count: usize) -> Self {
        let (channels, size) = (layout.channels, [layout.height, layout.width]);
        let length = layout.len();
        let split = move |batch: Result<SampledBatch>| -> Vec<Result<Picture>> {
            match batch {
                Ok(batch) => batch
                    .pixels
                    .chunks(length)
                    .map(|planes| {
                        Ok(Picture {
                            planes: planes.to_vec(),
                            channels,
                            size,
                        })
                    })
                    .collect(),
                Err(error) => vec![Err(error)],
            }
        };
        Self {
            count,
            images: Box::new(sampling.flat_map(split)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_in_order_and_says_what_it_cannot_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        let grey = image::GrayImage::from_fn(3, 2, |x, y| image::Luma([(10 * y + x) as u8]));
        grey.save(folder.path().join("b/1.png")).unwrap();
        let colour = image::RgbImage::from_fn(2, 1, |x, _| image::Rgb([x as u8, 50, 200]));
        colour.save(folder.path().join("a.PNG")).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "no image").unwrap();

        let pictures = Pictures::in_folder(folder.path()).unwrap();
        assert_eq!(pictures.count, 2);
        let read: Vec<Picture> = pictures.map(Result::unwrap).collect();
        assert_eq!((read[0].channels, read[0].size), (3, [1, 2]));
        assert_eq!(read[0].planes, [0, 1, 50, 50, 200, 200]);
        assert_eq!((read[1].channels, read[1].size), (1, [2, 3]));
        assert_eq!(read[1].planes, [0, 1, 2, 10, 11, 12]);

        std::fs::write(folder.path().join("c.jpg"), "no image either").unwrap();
        let error = Pictures::in_folder(folder.path())
            .unwrap()
            .find_map(Result::err)
            .unwrap();
        assert!(error.to_string().contains("c.jpg"), "{error:#}");
    }
}
