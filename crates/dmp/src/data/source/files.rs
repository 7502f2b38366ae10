//! Which files a name stands for.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::split::one_split;
use crate::data::picture::ENDINGS;

/// What files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// An image each.
    Images,
    /// Images as members.
    Tar,
    /// Images as rows.
    Parquet,
    /// Images of one size.
    Npz,
}

/// Files of one kind.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) kind: Kind,
    /// The folder that was named, or the files' own.
    pub(super) root: PathBuf,
    /// In the order of their paths.
    pub(super) paths: Vec<PathBuf>,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_lowercase();
        match ending.as_str() {
            "tar" => Some(Self::Tar),
            "parquet" => Some(Self::Parquet),
            "npz" => Some(Self::Npz),
            image => ENDINGS.contains(&image).then_some(Self::Images),
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Tar => "tar files",
            Self::Parquet => "parquet files",
            Self::Npz => ".npz files",
        }
    }
}

/// The files that `name` stands for: itself, those with a name like it where it has a `*`, or all in a folder and the
/// folders in it.
pub(super) fn find(name: &str) -> Result<Found> {
    let path = Path::new(name);
    if path.is_dir() {
        return in_folder(path);
    }
    let (paths, root) = if path.exists() {
        (vec![path.to_owned()], parent(path))
    } else {
        (like(path)?, parent(path))
    };
    let kinds: BTreeSet<Option<Kind>> = paths.iter().map(|path| Kind::of(path)).collect();
    let kind = match kinds.into_iter().collect::<Vec<_>>()[..] {
        [Some(kind)] => kind,
        _ => bail!(
            "data '{name}': is none of what can be read; give a folder of images ({}), .tar, .parquet or .npz files",
            ENDINGS.join(", ")
        ),
    };
    ensure!(
        kind != Kind::Npz || paths.len() == 1,
        "data '{name}': {} .npz files; give one",
        paths.len()
    );
    one_split(Path::new(name), &root, kind, &paths)?;
    Ok(Found { kind, root, paths })
}

/// Whether a file or folder is none of the user's data: hidden, or what a Mac's archives and some file servers put there.
fn is_foreign(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with('.') || matches!(name, "__MACOSX" | "@eaDir"))
}

pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Files whose names are like the one of `pattern`, in which a `*` stands for anything.
fn like(pattern: &Path) -> Result<Vec<PathBuf>> {
    let shown = pattern.display();
    let missing = || {
        format!(
            "data '{shown}': no such folder or file; give 'demo', a folder of images or of latents, .tar, .parquet or .npz files"
        )
    };
    let wanted = pattern.file_name().and_then(|name| name.to_str());
    let wanted = wanted
        .filter(|name| name.contains('*'))
        .with_context(missing)?;
    let entries = fs::read_dir(parent(pattern)).with_context(missing)?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(missing)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let shown = wanted.starts_with('.') || !is_foreign(&path);
        if shown && path.is_file() && name.is_some_and(|name| matches(name, wanted)) {
            found.push(path);
        }
    }
    ensure!(!found.is_empty(), missing());
    found.sort();
    Ok(found)
}

/// Whether the parts of `pattern` between its stars stand in `name` in their order.
fn matches(name: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return name == pattern;
    };
    let Some(mut left) = name.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(end)
}

/// The folders in one in which there is nothing of the user's.
pub(super) fn empty_folders(folder: &Path) -> Result<Vec<OsString>> {
    let inside = |folder: &Path| -> Result<Vec<PathBuf>> {
        let cannot = || format!("{}: cannot be read as a folder", folder.display());
        let entries = fs::read_dir(folder).with_context(cannot)?;
        let paths: Result<Vec<PathBuf>> = entries
            .map(|entry| Ok(entry.with_context(cannot)?.path()))
            .collect();
        Ok(paths?
            .into_iter()
            .filter(|path| !is_foreign(path))
            .collect())
    };
    let mut found = Vec::new();
    for path in inside(folder)? {
        if path.is_dir() && inside(&path)?.is_empty() {
            found.extend(path.file_name().map(OsString::from));
        }
    }
    Ok(found)
}

fn in_folder(folder: &Path) -> Result<Found> {
    let mut found = Vec::new();
    walk(folder, &mut BTreeSet::new(), &mut found)?;
    let arrays = found.iter().find(|(kind, _)| *kind == Kind::Npz);
    let arrays = arrays.map(|(_, path)| path.display().to_string());
    // Samples and statistics lie about in folders of images.
    found.retain(|(kind, _)| *kind != Kind::Npz);
    found.sort();
    let kinds: BTreeSet<Kind> = found.iter().map(|(kind, _)| *kind).collect();
    let shown = folder.display();
    let kind = match kinds.iter().collect::<Vec<_>>()[..] {
        [&kind] => kind,
        [] if arrays.is_some() => bail!(
            "{shown}: holds no images but .npz files; name one, as '{}'",
            arrays.unwrap_or_default()
        ),
        [] => bail!(
            "{shown}: no images there; give a folder with {}, tar or parquet files",
            ENDINGS.join(", ")
        ),
        [one, other, ..] => bail!(
            "{shown}: holds {} and {}; give the folder of one kind, or name files as in '{shown}/*.tar'",
            one.plural(),
            other.plural()
        ),
    };
    let paths: Vec<PathBuf> = found.into_iter().map(|(_, path)| path).collect();
    one_split(folder, folder, kind, &paths)?;
    Ok(Found {
        kind,
        root: folder.to_owned(),
        paths,
    })
}

/// Enters each folder once, whatever links lead to it.
fn walk(
    folder: &Path,
    entered: &mut BTreeSet<PathBuf>,
    found: &mut Vec<(Kind, PathBuf)>,
) -> Result<()> {
    let cannot = || format!("{}: cannot be read as a folder", folder.display());
    let real = folder.canonicalize().with_context(cannot)?;
    if !entered.insert(real) {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if is_foreign(&path) {
            continue;
        }
        if path.is_dir() {
            walk(&path, entered, found)?;
        } else if let Some(kind) = Kind::of(&path) {
            found.push((kind, path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::signature::{is_there, signature};
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (name, pattern, like) in [
            ("train-00.tar", "train-*.tar", true),
            ("train-00.tar", "*", true),
            ("train-00.tar", "*0*.tar", true),
            ("train-00.tar", "*-*-*.tar", false),
            ("test-00.tar", "train-*.tar", false),
            ("a.tar", "a.tar*.tar", false),
            ("a.tar", "a.tar", true),
        ] {
            assert_eq!(matches(name, pattern), like, "{name} {pattern}");
        }
    }

    #[test]
    fn files_of_one_kind_and_one_split_are_found_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let touch = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        let name = folder.path().display().to_string();
        touch("data/train-1.parquet");
        touch("data/train-0.parquet");
        touch("readme.md");
        touch("data/.cache/train-0.parquet");
        touch("__MACOSX/train-0.parquet");
        let found = find(&name).unwrap();
        assert_eq!((found.kind, found.paths.len()), (Kind::Parquet, 2));
        assert!(found.paths[0].ends_with("data/train-0.parquet"));
        let before = signature(&name).unwrap();

        touch("data/test-0.parquet");
        let error = find(&name).unwrap_err().to_string();
        assert!(
            error.contains("splits test and train") && error.contains("data/train*.parquet'"),
            "{error}"
        );
        let mixed = find(&format!("{name}/data/*.parquet")).unwrap_err();
        assert!(
            mixed.to_string().contains("splits test and train"),
            "{mixed}"
        );
        let starred = format!("{name}/data/train*");
        assert_eq!(find(&starred).unwrap().paths, found.paths);
        assert_ne!(signature(&starred).unwrap(), before);
        assert!(is_there(&starred).unwrap() && !is_there(&format!("{name}/none")).unwrap());

        touch("1.png");
        let error = find(&name).unwrap_err().to_string();
        assert!(error.contains("images and parquet files"), "{error}");
        let other = format!("{name}/*.md");
        let error = find(&other).unwrap_err().to_string();
        assert!(error.contains(".tar, .parquet or .npz"), "{error}");
        assert!(find(&format!("{name}/*.tar")).is_err());
    }

    #[test]
    fn a_folder_of_arrays_says_to_name_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x.npz"), "").unwrap();
        let error = find(&folder.path().display().to_string()).unwrap_err();
        assert!(error.to_string().contains("name one, as '"), "{error}");
    }
}
