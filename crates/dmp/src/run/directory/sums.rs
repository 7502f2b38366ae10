//! Sums of a checkpoint's files, in the form that `sha256sum --check` reads: a run goes on from what it wrote or not at all.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use dmp_model::checkpoint::hex;
use sha2::{Digest, Sha256};

use super::{RunDirError, entries};
use crate::digest::add_file;
use crate::output::write_atomic;

const NAME: &str = "SHA256SUMS";

/// Writes the sums of all files in a folder into it.
pub fn write(folder: &Path) -> Result<(), RunDirError> {
    let mut lines = Vec::new();
    for path in entries(folder)? {
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            lines.push(format!("{}  {name}\n", sum(&path)?));
        }
    }
    lines.sort();
    Ok(write_atomic(&folder.join(NAME), lines.concat().as_bytes())?)
}

/// Refuses a folder with a file that is not what was written there. One of before there were sums has none.
pub fn check(folder: &Path) -> Result<(), RunDirError> {
    let path = folder.join(NAME);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !entries(folder)?.is_empty() => {
            return Ok(());
        }
        text => text.map_err(|_| RunDirError::Changed { path: path.clone() })?,
    };
    let mut summed = BTreeSet::from([path.clone()]);
    for line in text.lines() {
        let Some((wanted, name)) = line.split_once("  ") else {
            return Err(RunDirError::Changed { path });
        };
        let path = folder.join(name);
        if !sum(&path).is_ok_and(|found| found == wanted) {
            return Err(RunDirError::Changed { path });
        }
        summed.insert(path);
    }
    // A list that was cut short would leave the rest unchecked.
    let ours = |path: &PathBuf| {
        !path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    let more = entries(folder)?
        .into_iter()
        .find(|path| ours(path) && !summed.contains(path));
    more.map_or(Ok(()), |path| Err(RunDirError::Foreign { path }))
}

fn sum(path: &Path) -> Result<String, RunDirError> {
    let mut hasher = Sha256::new();
    add_file(&mut hasher, path).map_err(|source| RunDirError::Io {
        path: path.to_owned(),
        source,
    })?;
    Ok(hex(&hasher.finalize()))
}
