//! Images one by one, whatever they come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::data::source::Content;
use crate::data::{Picture, Source};
use crate::sampling::{Drawing, SampledBatch};

/// Images, and how many there will be.
pub struct Pictures<'a> {
    /// How many.
    pub count: usize,
    images: Box<dyn Iterator<Item = Result<Picture>> + 'a>,
    /// Where they lie, of those that are not drawn.
    source: Option<Arc<Source>>,
    /// The folder that those that are drawn are kept in.
    kept: Option<PathBuf>,
}

impl Iterator for Pictures<'_> {
    type Item = Result<Picture>;

    fn next(&mut self) -> Option<Self::Item> {
        self.images.next()
    }
}

impl<'a> Pictures<'a> {
    /// All images there, in their order.
    pub fn of(source: Source) -> Self {
        let count = source.items().len();
        let source = Arc::new(source);
        let kept = source.clone();
        let read = move |index: usize| {
            let name = &source.items()[index].name;
            let picture = source.content(index).and_then(Content::picture);
            picture.with_context(|| format!("{name}: cannot be read as an image; remove it"))
        };
        Self {
            count,
            images: Box::new((0..count).map(read)),
            source: Some(kept),
            kept: None,
        }
    }

    /// Where they lie; `None` of what is drawn.
    pub fn source(&self) -> Option<&Source> {
        self.source.as_deref()
    }

    /// The folder that they are kept in as they are drawn.
    pub fn kept(&self) -> Option<&Path> {
        self.kept.as_deref()
    }

    /// What is drawn.
    pub fn drawn(drawing: Drawing<'a>) -> Self {
        let (layout, count) = (drawing.layout(), drawing.args().count);
        let kept = drawing.folder().map(|folder| folder.root().to_owned());
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
            images: Box::new(drawing.flat_map(split)),
            source: None,
            kept,
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

        let name = folder.path().display().to_string();
        let pictures = Pictures::of(Source::open(&name).unwrap());
        assert_eq!(pictures.count, 2);
        let read: Vec<Picture> = pictures.map(Result::unwrap).collect();
        assert_eq!((read[0].channels, read[0].size), (3, [1, 2]));
        assert_eq!(read[0].planes, [0, 1, 50, 50, 200, 200]);
        assert_eq!((read[1].channels, read[1].size), (1, [2, 3]));
        assert_eq!(read[1].planes, [0, 1, 2, 10, 11, 12]);

        std::fs::write(folder.path().join("c.jpg"), "no image either").unwrap();
        let mut pictures = Pictures::of(Source::open(&name).unwrap());
        let error = pictures.find_map(Result::err).unwrap();
        assert!(error.to_string().contains("c.jpg"), "{error:#}");
    }
}
