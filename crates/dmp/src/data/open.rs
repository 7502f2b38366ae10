//! Data that a user names: the embedded images, a folder of images or of latents, an `.npz`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;

use super::array::ImageArray;
use super::picture::{Picture, images_in};
use super::{Dataset, ImageShape, demo, latents};
use crate::run::progress_bar;

/// What data must be, and how much of it may be broken.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// What images become: cropped in the middle, in these channels. The embedded images are what they are.
    pub shape: Option<ImageShape>,
    /// Images that may be unreadable; they are left out.
    pub max_bad: usize,
}

/// Opens `demo`, a folder of images (with a sub-folder a class, or without classes) or of latents, or an `.npz` of images.
pub fn open(name: &str, wanted: Wanted) -> Result<Dataset> {
    if name == "demo" {
        return Ok(demo::images()?);
    }
    let path = Path::new(name);
    ensure!(
        path.exists(),
        "data '{name}': no such folder or file; give 'demo', a folder of images or of latents, or an .npz of images"
    );
    if latents::is_one(path) {
        return latents::open(path);
    }
    let shape = wanted.shape.with_context(|| {
        format!("data '{name}': give --image-size, the side that images are cropped to")
    })?;
    ensure!(
        matches!(shape.channels, 1 | 3) && shape.height == shape.width,
        "data '{name}': images become grey or red-green-blue squares; the model takes {}x{}x{}",
        shape.channels,
        shape.height,
        shape.width
    );
    if path.is_dir() {
        folder(path, shape, wanted.max_bad)
    } else {
        array(path, shape)
    }
}

fn array(path: &Path, shape: ImageShape) -> Result<Dataset> {
    let array = ImageArray::read(path)?;
    let images: Vec<u8> = (0..array.count)
        .into_par_iter()
        .flat_map_iter(|index| fitted(array.picture(index), shape))
        .collect();
    let labels = array.labels.unwrap_or_else(|| vec![0; array.count]);
    let classes = labels.iter().max().map_or(1, |&label| label as usize + 1);
    ensure!(
        classes <= MOST_CLASSES,
        "{}: a label is {}; classes count from 0 to at most {MOST_CLASSES}",
        path.display(),
        classes - 1
    );
    Ok(Dataset::new(images, labels, shape, classes)?)
}

/// More than any data set has; a label beyond is a number of another kind.
const MOST_CLASSES: usize = 1 << 20;

fn folder(folder: &Path, shape: ImageShape, max_bad: usize) -> Result<Dataset> {
    let paths = images_in(folder)?;
    let (labels, classes) = labels(folder, &paths);
    let bar = progress_bar(paths.len() as u64, 0, "images").with_prefix("reading");
    let read: Vec<Result<Vec<u8>>> = paths
        .par_iter()
        .map(|path| {
            let image = Picture::read(path).map(|picture| fitted(picture, shape));
            bar.inc(1);
            image
        })
        .collect();
    bar.finish_and_clear();
    let bad: Vec<(&PathBuf, &anyhow::Error)> = paths
        .iter()
        .zip(&read)
        .filter_map(|(path, image)| Some((path, image.as_ref().err()?)))
        .collect();
    for (path, error) in &bad {
        eprintln!("{}: left out: {error:#}", path.display());
    }
    ensure!(
        bad.len() <= max_bad,
        "{}: {} of {} images cannot be read, the first is {}; mend or remove them, or give --max-bad {}",
        folder.display(),
        bad.len(),
        paths.len(),
        bad[0].0.display(),
        bad.len()
    );
    let mut images = Vec::with_capacity(read.len() * shape.len());
    let mut kept = Vec::with_capacity(read.len());
    for (image, label) in read.into_iter().zip(labels) {
        if let Ok(image) = image {
            images.extend(image);
            kept.push(label);
        }
    }
    ensure!(
        !kept.is_empty(),
        "{}: no image there can be read",
        folder.display()
    );
    Ok(Dataset::new(images, kept, shape, classes)?)
}

pub(super) fn fitted(picture: Picture, shape: ImageShape) -> Vec<u8> {
    let picture = picture.with_channels(shape.channels);
    if picture.size == [shape.height, shape.width] {
        return picture.planes;
    }
    picture.centre_crop(shape.height).planes
}

/// A label an image and the number of classes: the sub-folder of the top that it is in, in the order of their names;
/// one class for all if any image is in no sub-folder.
pub(super) fn labels(folder: &Path, paths: &[PathBuf]) -> (Vec<u32>, usize) {
    let class = |path: &PathBuf| {
        let inside = path.strip_prefix(folder).ok()?;
        let mut parts = inside.components();
        let first = parts.next()?.as_os_str().to_owned();
        parts.next().map(|_| first)
    };
    let classes: Option<Vec<_>> = paths.iter().map(class).collect();
    let Some(classes) = classes else {
        return (vec![0; paths.len()], 1);
    };
    let mut numbers = BTreeMap::new();
    for name in &classes {
        numbers.insert(name.clone(), 0);
    }
    for (number, value) in numbers.values_mut().enumerate() {
        *value = number as u32;
    }
    let labels = classes.iter().map(|name| numbers[name]).collect();
    (labels, numbers.len())
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
        let data = open(&name, wanted(0)).unwrap();
        assert_eq!((data.labels(), data.num_classes()), (&[0, 0, 1][..], 2));
        assert_eq!(
            (data.pixels(0).unwrap()[0], data.pixels(2).unwrap()[15]),
            (20, 10)
        );
        assert!(!data.is_oriented());

        std::fs::write(folder.path().join("bag/3.png"), "no image").unwrap();
        let error = open(&name, wanted(0)).unwrap_err().to_string();
        assert!(
            error.contains("1 of 4") && error.contains("3.png") && error.contains("--max-bad 1"),
            "{error}"
        );
        assert_eq!(open(&name, wanted(1)).unwrap().len(), 3);

        // An image in no sub-folder: no classes.
        save(folder.path(), "loose.png", 40);
        let data = open(&name, wanted(1)).unwrap();
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
        for (name, wanted, word) in [
            ("nowhere", wanted(0), "'nowhere'"),
            (name.as_str(), wanted(0), "no images there"),
            (name.as_str(), no_size, "--image-size"),
        ] {
            let error = open(name, wanted).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
