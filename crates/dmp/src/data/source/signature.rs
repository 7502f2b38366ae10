//! Whether images are those that they were.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use dmp_model::checkpoint::hex;
use sha2::{Digest, Sha256};

use super::captions;
use super::files::{Kind, find, parent};

/// Whether there is anything that `name` stands for.
///
/// # Errors
/// When that cannot be found out.
pub fn is_there(name: &str) -> Result<bool> {
    let path = Path::new(name);
    let looked = || format!("{name}: cannot be looked for");
    if path.try_exists().with_context(looked)? {
        return Ok(true);
    }
    Ok(name.contains('*') && parent(path).try_exists().with_context(looked)?)
}

/// SHA-256 of the names, lengths and times of change of all files that `name` stands for, and of those that hold captions of
/// images: another whenever one of them is replaced.
///
/// # Errors
/// When they are there no longer.
pub fn signature(name: &str) -> Result<String> {
    let found = find(name)?;
    let mut hasher = Sha256::new();
    let mut add = |path: &Path| -> Result<()> {
        let inside = path.strip_prefix(&found.root).unwrap_or(path);
        hasher.update(inside.as_os_str().as_encoded_bytes());
        hasher.update([0]);
        let metadata = match fs::metadata(path) {
            // A link to nothing is an image that cannot be read.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                hasher.update("missing");
                return Ok(());
            }
            metadata => metadata.with_context(|| path.display().to_string())?,
        };
        let changed = metadata.modified()?.duration_since(UNIX_EPOCH);
        hasher.update(metadata.len().to_le_bytes());
        hasher.update(changed.map_or(0, |since| since.as_nanos()).to_le_bytes());
        Ok(())
    };
    found.paths.iter().try_for_each(|path| add(path))?;
    if found.kind == Kind::Images {
        let written = captions::files(&found.root, &found.paths);
        written.iter().try_for_each(|path| add(path))?;
    }
    Ok(hex(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn captions_and_links_to_nothing_are_signed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let name = folder.path().display().to_string();
        fs::write(at("1.png"), "").unwrap();
        let mut signatures = vec![signature(&name).unwrap()];
        fs::write(at("1.txt"), "a cat").unwrap();
        signatures.push(signature(&name).unwrap());
        fs::write(at("metadata.jsonl"), "").unwrap();
        signatures.push(signature(&name).unwrap());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("gone"), at("2.png")).unwrap();
            signatures.push(signature(&name).unwrap());
        }
        let different: BTreeSet<&String> = signatures.iter().collect();
        assert_eq!(different.len(), signatures.len());
    }
}
