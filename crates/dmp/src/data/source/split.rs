//! Parts that data sets are published in. What is trained on is one of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::files::{Kind, parent};

/// What they are called.
const SPLITS: [&str; 5] = ["train", "test", "validation", "val", "valid"];

/// Refuses files of several splits among those in `root` that `named` stands for: in folders called `train` and `test`, or tables
/// called `train-…` and `test-…`.
pub(super) fn one_split(named: &Path, root: &Path, kind: Kind, paths: &[PathBuf]) -> Result<()> {
    let mut splits: BTreeMap<&str, String> = BTreeMap::new();
    for path in paths {
        if let Some((split, example)) = split(root, kind, path) {
            splits.entry(split).or_insert(example);
        }
    }
    let example = splits.get(SPLITS[0]).or_else(|| splits.values().last());
    let names: Vec<&str> = splits.keys().copied().collect();
    ensure!(
        names.len() < 2,
        "{}: holds the splits {}; name one, as in '{}'",
        named.display(),
        names.join(" and "),
        example.map_or("train", String::as_str)
    );
    Ok(())
}

/// The split that a file is of by its path, and what to name to have that split alone.
fn split(root: &Path, kind: Kind, path: &Path) -> Option<(&'static str, String)> {
    let known = |name: &str| {
        let name = name.to_lowercase();
        // With a year, as in `train2017`.
        let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
        SPLITS.into_iter().find(|split| *split == name)
    };
    let inside = path.strip_prefix(root).ok()?;
    let mut folder = root.to_owned();
    for part in inside.parent()?.components() {
        folder.push(part);
        if let Some(split) = part.as_os_str().to_str().and_then(known) {
            return Some((split, folder.display().to_string()));
        }
    }
    // Pictures are called anything.
    let name = (kind != Kind::Images).then(|| inside.file_name()?.to_str())??;
    let split = known(name.split(['-', '_', '.']).next()?)?;
    let ending = path.extension()?.to_str()?;
    let (start, folder) = (&name[..split.len()], parent(path));
    Some((split, format!("{}/{start}*.{ending}", folder.display())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::files::find;

    #[test]
    fn splits_in_folders_are_not_mixed() {
        for (files, named) in [
            (["a/train/0.tar", "a/test/0.tar"], "a/train'"),
            (["Val/cat/1.png", "test/cat/1.png"], "/Val'"),
            (
                ["a/test-0.parquet", "b/train-0.parquet"],
                "b/train*.parquet'",
            ),
            (["val2017/1.png", "train2017/1.png"], "/train2017'"),
            (["Train_0.tar", "Test_0.tar"], "/Train*.tar'"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            for file in files {
                let path = folder.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            let name = folder.path().display().to_string();
            let error = find(&name).unwrap_err().to_string();
            assert!(
                error.contains("holds the splits") && error.contains(named),
                "{error}"
            );
            let wanted = error.rsplit('\'').nth(1).unwrap();
            assert_eq!(find(wanted).unwrap().paths.len(), 1, "{wanted}");
        }
    }
}
