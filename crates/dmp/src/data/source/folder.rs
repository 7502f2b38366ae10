//! Image files in folders.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::files::empty_folders;
use super::{Item, captions};

/// The images' names, classes and captions, and how many classes there are.
pub(super) fn items(root: &Path, paths: &[PathBuf]) -> Result<(Vec<Item>, usize)> {
    let (labels, classes) = labels(root, paths)?;
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

/// A label an image in a sub-folder of the top, and the number of classes: the sub-folders in the order of their names. One that is
/// empty is a class too, so that the others' numbers are those of a model that knows it; one that holds other things is none.
fn labels(root: &Path, paths: &[PathBuf]) -> Result<(Vec<Option<u32>>, usize)> {
    let class = |path: &PathBuf| {
        let inside = path.strip_prefix(root).ok()?;
        let mut parts = inside.components();
        let first = parts.next()?.as_os_str().to_owned();
        parts.next().map(|_| first)
    };
    let mut images: BTreeMap<OsString, usize> = BTreeMap::new();
    let classes: Vec<Option<OsString>> = paths.iter().map(class).collect();
    let all = classes.iter().all(Option::is_some);
    if all {
        let folders = empty_folders(root)?.into_iter().map(|name| (name, 0));
        images.extend(folders);
    }
    for name in classes.iter().flatten() {
        *images.entry(name.clone()).or_default() += 1;
    }
    let numbers: BTreeMap<&OsString, u32> = images.keys().zip(0..).collect();
    for (name, _) in images.iter().filter(|(_, count)| **count == 0) {
        crate::tell!(
            "note: {}: {} is empty and counts as class {}; remove it if it is none",
            root.display(),
            name.display(),
            numbers[name]
        );
    }
    let labels = classes.iter().map(|name| Some(numbers[name.as_ref()?]));
    Ok((labels.collect(), numbers.len()))
}
