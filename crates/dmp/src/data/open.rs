//! Data that a user names: the embedded images, a folder of latents, or images wherever they lie, read into memory.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;

use super::{Classes, Dataset, ImageShape, Picture, Source, demo, latents};
use crate::memory::ensure_fits;
use crate::run::progress_bar;

/// What data must be, and how much of it may be broken.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// What images become: cropped in the middle, in these channels. The embedded images are what they are.
    pub shape: Option<ImageShape>,
    /// Images that may be unreadable; they are left out.
    pub max_bad: usize,
}

/// Opens `demo`, a folder of latents, or images wherever a [`Source`] finds them; of them the images of some classes, or all.
pub fn open(name: &str, wanted: Wanted, classes: Option<&Classes>) -> Result<Dataset> {
    let place = |classes: &Classes| format!("--class {classes}: data '{name}'");
    let some = |all: Dataset| match classes {
        Some(classes) => (all.of_classes(classes)).with_context(|| place(classes)),
        None => Ok(all),
    };
    if name == "demo" {
        return some(demo::images()?);
    }
    let path = Path::new(name);
    if latents::is_one(path) {
        return some(latents::open(path)?);
    }
    let source = Source::open(name)?;
    let shape = wanted.shape.with_context(|| {
        format!("data '{name}': give --image-size, the side that images are cropped to")
    })?;
    ensure!(
        matches!(shape.channels, 1 | 3) && shape.height == shape.width,
        "data '{name}': images become grey or red-green-blue squares; the model takes {}x{}x{}{}",
        shape.channels,
        shape.height,
        shape.width,
        if matches!(shape.channels, 1 | 3) {
            ""
        } else {
            " latents, which 'dmp cache' makes of images"
        }
    );
    let count = source.items().len();
    let chosen = match classes {
        None => (0..count).collect(),
        Some(classes) => {
            let labels: Vec<u32> = (0..count).map(|index| source.label(index)).collect();
            let chosen = classes.among(&labels, source.classes());
            chosen.with_context(|| place(classes))?
        }
    };
    ensure_fits(
        &format!("data '{name}'"),
        chosen.len() as u128 * shape.len() as u128,
        "give fewer or smaller images",
    )?;
    images(&source, name, &chosen, shape, wanted.max_bad)
}

/// Images read at a time: in their order, as some files are read best, and decoded on all cores.
const AT_A_TIME: usize = 64;

fn images(
    source: &Source,
    name: &str,
    chosen: &[usize],
    shape: ImageShape,
    max_bad: usize,
) -> Result<Dataset> {
    let count = chosen.len();
    let bar = progress_bar(count as u64, 0, "images").with_prefix("reading");
    let mut images = Vec::with_capacity(count * shape.len());
    let mut labels = Vec::with_capacity(count);
    let mut bad = Vec::new();
    for some in chosen.chunks(AT_A_TIME) {
        let contents: Vec<_> = some.iter().map(|&index| source.content(index)).collect();
        let pictures: Vec<Result<Vec<u8>>> = contents
            .into_par_iter()
            .map(|content| Ok(fitted(content?.picture()?, shape)))
            .collect();
        for (&index, picture) in some.iter().zip(pictures) {
            match picture {
                Ok(pixels) => {
                    images.extend(pixels);
                    labels.push(source.label(index));
                }
                Err(error) => {
                    let name = &source.items()[index].name;
                    bar.suspend(|| crate::tell!("{name}: left out: {error:#}"));
                    bad.push(name);
                }
            }
        }
        bar.inc(some.len() as u64);
    }
    bar.finish_and_clear();
    ensure!(
        bad.len() <= max_bad,
        "{name}: {} of {count} images cannot be read, the first is {}; mend or remove them, or give --max-bad {}",
        bad.len(),
        bad[0],
        bad.len()
    );
    ensure!(!labels.is_empty(), "{name}: no image there can be read");
    Ok(Dataset::new(images, labels, shape, source.classes())?)
}

/// Pixels of this shape: what is larger is cropped in the middle.
pub(super) fn fitted(picture: Picture, shape: ImageShape) -> Vec<u8> {
    let picture = picture.with_channels(shape.channels);
    if picture.size == [shape.height, shape.width] {
        return picture.planes;
    }
    picture.centre_crop(shape.height).planes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape {
        channels: 1,
        height: 4,
        width: 4,
    };

    fn wanted(max_bad: usize) -> Wanted {
        Wanted {
            shape: Some(SHAPE),
            max_bad,
        }
    }

    fn save(folder: &Path, name: &str, grey: u8) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::GrayImage::from_pixel(9, 6, image::Luma([grey]))
            .save(path)
            .unwrap();
    }

    #[test]
    fn sub_folders_are_classes_and_broken_images_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), "shoe/1.png", 10);
        save(folder.path(), "bag/1.png", 20);
        save(folder.path(), "bag/deep/2.png", 30);
        let name = folder.path().display().to_string();
        let data = open(&name, wanted(0), None).unwrap();
        assert_eq!((data.labels(), data.num_classes()), (&[0, 0, 1][..], 2));
        assert_eq!(
            (data.pixels(0).unwrap()[0], data.pixels(2).unwrap()[15]),
            (20, 10)
        );
        assert!(!data.is_oriented());

        std::fs::write(folder.path().join("bag/3.png"), "no image").unwrap();
        let error = open(&name, wanted(0), None).unwrap_err().to_string();
        assert!(
            error.contains("1 of 4") && error.contains("3.png") && error.contains("--max-bad 1"),
            "{error}"
        );
        assert_eq!(open(&name, wanted(1), None).unwrap().len(), 3);

        // An empty one keeps its number, but one with other things is none, nor is what a Mac leaves.
        for name in ["boot", "__MACOSX", "about"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("about/x.txt"), "").unwrap();
        let data = open(&name, wanted(1), None).unwrap();
        assert_eq!((data.labels(), data.num_classes()), (&[0, 0, 2][..], 3));

        // An image in no sub-folder: no classes.
        save(folder.path(), "loose.png", 40);
        let data = open(&name, wanted(1), None).unwrap();
        assert_eq!((data.len(), data.num_classes()), (4, 1));
    }

    #[test]
    fn what_cannot_be_data_is_refused_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().display().to_string();
        let no_size = Wanted {
            shape: None,
            max_bad: 0,
        };
        for (name, word) in [("nowhere", "'nowhere'"), (name.as_str(), "no images there")] {
            let error = open(name, wanted(0), None).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        save(folder.path(), "1.png", 10);
        let error = open(&name, no_size, None).unwrap_err().to_string();
        assert!(error.contains("--image-size"), "{error}");
        let latents = ImageShape {
            channels: 4,
            ..SHAPE
        };
        let of_latents = Wanted {
            shape: Some(latents),
            max_bad: 0,
        };
        let error = open(&name, of_latents, None).unwrap_err().to_string();
        assert!(error.contains("'dmp cache' makes of images"), "{error}");
    }
}
