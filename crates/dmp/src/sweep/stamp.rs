//! Whether what a flag names is still the same: told by size and time of change, as `make` does, in no time for
//! models and folders of any size. What looks changed is done again, and a run directory then knows by the contents.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use dmp_model::checkpoint::hex;
use sha2::{Digest, Sha256};

use crate::data::demo;
use crate::data::source::signature;
use crate::words::Words;

/// Stamps of files and folders, each looked at once.
#[derive(Debug, Default)]
pub struct Stamps(RefCell<HashMap<PathBuf, String>>);

/// Flags that name files or folders.
const PLACES: [&str; 5] = ["model", "data", "reference", "inception", "vae"];

impl Stamps {
    /// A stamp for each flag that names a file or folder, and for the embedded model.
    ///
    /// # Errors
    /// When what is there cannot be looked at.
    pub fn of(&self, flags: &Words) -> Result<BTreeMap<String, String>> {
        let mut stamps = BTreeMap::new();
        for (flag, value) in flags.iter().filter(|(flag, _)| PLACES.contains(flag)) {
            let stamp = match (flag, value) {
                ("model", "demo") => Some(embedded()),
                // Names of what is embedded, whatever else is called so.
                ("data", "demo") | ("reference", "held-out" | "validation" | "train") => None,
                ("data", files) if files.contains('*') && !Path::new(files).exists() => {
                    signature(files)
                        .ok()
                        .map(|hash| format!("files {}", &hash[..24]))
                }
                _ => self.path(Path::new(value))?,
            };
            stamps.extend(stamp.map(|stamp| (flag.to_owned(), stamp)));
        }
        Ok(stamps)
    }

    /// The stamp of a file or folder; `None` where there is none. Of a run directory, its model counts.
    ///
    /// # Errors
    /// When what is there cannot be looked at.
    pub fn path(&self, path: &Path) -> Result<Option<String>> {
        if path.as_os_str().is_empty() || !path.exists() {
            return Ok(None);
        }
        if let Some(stamp) = self.0.borrow().get(path) {
            return Ok(Some(stamp.clone()));
        }
        let model = path.join("backbone.safetensors");
        let stamp = if model.is_file() {
            look(&model)
        } else {
            look(path)
        };
        let stamp = stamp.with_context(|| {
            format!("{}: cannot be read; check its permissions", path.display())
        })?;
        self.0.borrow_mut().insert(path.to_owned(), stamp.clone());
        Ok(Some(stamp))
    }
}

/// Another build may embed another model.
fn embedded() -> String {
    format!("embedded {}", hex(&Sha256::digest(demo::BACKBONE)[..12]))
}

fn look(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_dir() {
        return Ok(line(&metadata));
    }
    let mut hasher = Sha256::new();
    folder(path, &mut BTreeSet::new(), &mut hasher)?;
    Ok(format!("folder {}", hex(&hasher.finalize()[..12])))
}

/// Enters each folder once, whatever links lead to it.
fn folder(path: &Path, entered: &mut BTreeSet<PathBuf>, hasher: &mut Sha256) -> io::Result<()> {
    if !entered.insert(path.canonicalize()?) {
        return Ok(());
    }
    let mut inside: Vec<PathBuf> = fs::read_dir(path)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    inside.sort();
    for path in inside {
        hasher.update(path.as_os_str().as_encoded_bytes());
        match fs::metadata(&path) {
            // A link to nothing, or to itself.
            Err(error) => hasher.update(error.kind().to_string()),
            Ok(metadata) if metadata.is_dir() => folder(&path, entered, hasher)?,
            Ok(metadata) => hasher.update(line(&metadata)),
        }
        hasher.update([0]);
    }
    Ok(())
}

fn line(metadata: &Metadata) -> String {
    let changed = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_nanos());
    format!("{} bytes, changed at {changed}", metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images/one");
        fs::create_dir_all(&images).unwrap();
        fs::write(images.join("a.png"), "a").unwrap();
        let stamp = |path: &Path| Stamps::default().path(path).unwrap();
        let before = stamp(folder.path());
        assert!(before.is_some());
        assert_eq!(before, stamp(folder.path()));
        fs::write(images.join("b.png"), "b").unwrap();
        assert_ne!(before, stamp(folder.path()));
        assert_eq!(stamp(&folder.path().join("nothing")), None);
        #[cfg(unix)]
        for (to, name) in [("gone", "lost"), ("itself", "itself"), ("..", "round")] {
            let before = stamp(folder.path());
            std::os::unix::fs::symlink(to, images.join(name)).unwrap();
            assert_ne!(before, stamp(folder.path()), "{name}");
        }
        let starred = format!("data = '{}/*.png'", images.display());
        let words = Words::of(&starred.parse().unwrap(), &[]).unwrap();
        let stamps = || Stamps::default().of(&words).unwrap();
        let before = stamps();
        assert!(before["data"].starts_with("files "), "{before:?}");
        fs::write(images.join("c.png"), "c").unwrap();
        assert_ne!(before, stamps());
    }

    #[test]
    fn a_run_directory_is_its_model() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("backbone.safetensors"), "model").unwrap();
        let stamp = || Stamps::default().path(folder.path()).unwrap();
        let before = stamp();
        fs::write(folder.path().join(".lock"), "").unwrap();
        assert_eq!(before, stamp());
    }

    #[test]
    fn only_what_exists_has_a_stamp() {
        // The program's own source stands for a folder that is called as a value is.
        let flags = "model = 'demo'\nsteps = 3\nmethod = 'src'\ndata = 'demo'\nvae = 'src'";
        let flags = flags.parse().unwrap();
        let stamps = Stamps::default()
            .of(&Words::of(&flags, &[]).unwrap())
            .unwrap();
        assert_eq!(stamps.keys().collect::<Vec<_>>(), ["model", "vae"]);
    }
}
