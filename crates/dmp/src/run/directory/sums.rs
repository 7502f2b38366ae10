//! Sums of a checkpoint's files, in the form that `sha256sum --check` reads: a run goes on from what it wrote or not at all.

use std::fs;
use std::path::Path;

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
    let Ok(text) = fs::read_to_string(folder.join(NAME)) else {
        return Ok(());
    };
    for (wanted, name) in text.lines().filter_map(|line| line.split_once("  ")) {
        let path = folder.join(name);
        if !sum(&path).is_ok_and(|found| found == wanted) {
            return Err(RunDirError::Changed { path });
        }
    }
    Ok(())
}

fn sum(path: &Path) -> Result<String, RunDirError> {
    let mut hasher = Sha256::new();
    add_file(&mut hasher, path).map_err(|source| RunDirError::Io {
        path: path.to_owned(),
        source,
    })?;
    Ok(hex(&hasher.finalize()))
}
