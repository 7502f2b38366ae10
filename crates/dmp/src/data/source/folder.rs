//! Image files in folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Item, captions};

/// The images' names, classes and captions, and how many classes there are.
pub(super) fn items(root: &Path, paths: &[PathBuf]) -> Result<(Vec<Item>, usize)> {
    let (labels, classes) = labels(root, paths);
    let mut captions = captions::Captions::default();
    let item = |(path, label): (&PathBuf, Option<u32>)| {
        Ok(Item {
            name: path.display().to_string(),
            label,
            caption: captions.of(root, path)?,
        })
    };
    let items: Result<_> = paths.iter().zip(labels).map(item).collect();
    Ok((items?, classes))
}

/// A label an image and the number of classes: the sub-folder of the top that it is in, in the order of their names;
/// none if any image is in no sub-folder.
fn labels(root: &Path, paths: &[PathBuf]) -> (Vec<Option<u32>>, usize) {
    let class = |path: &PathBuf| {
        let inside = path.strip_prefix(root).ok()?;
        let mut parts = inside.components();
        let first = parts.next()?.as_os_str().to_owned();
        parts.next().map(|_| first)
    };
    let classes: Option<Vec<_>> = paths.iter().map(class).collect();
    let Some(classes) = classes else {
        return (vec![None; paths.len()], 1);
    };
    let mut numbers: BTreeMap<_, u32> = classes.iter().map(|name| (name.clone(), 0)).collect();
    for (number, value) in numbers.values_mut().enumerate() {
        *value = number as u32;
    }
    let labels = classes.iter().map(|name| Some(numbers[name])).collect();
    (labels, numbers.len())
}
