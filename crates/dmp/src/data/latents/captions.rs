//! `captions.jsonl` in a folder of latents: what is written about the images, a line a latent in their order.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use dmp_model::checkpoint::hex;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::data::source::Item;
use crate::output::write_atomic;

/// The file.
const NAME: &str = "captions.jsonl";

/// Refuses a folder whose captions are someone's own and not those of latents, which are replaced.
pub(super) fn spare(folder: &Path) -> Result<()> {
    let path = folder.join(NAME);
    if !path.exists() {
        return Ok(());
    }
    let mut files = fs::read_dir(folder)?.flatten();
    ensure!(
        files.any(|file| file
            .path()
            .extension()
            .is_some_and(|end| end == "safetensors")),
        "{}: is not of 'dmp cache', which keeps a file of that name; give another folder as --out",
        path.display()
    );
    Ok(())
}

/// Writes the captions of these images, and gives the file's SHA-256; where none has one, no file.
pub(super) fn write<'a>(
    folder: &Path,
    items: impl Iterator<Item = &'a Item>,
) -> Result<Option<String>> {
    let path = folder.join(NAME);
    let (mut lines, mut any) = (String::new(), false);
    for item in items {
        any |= item.caption.is_some();
        lines += &json!({ "image": item.name, "caption": item.caption }).to_string();
        lines.push('\n');
    }
    if any {
        write_atomic(&path, lines.as_bytes())?;
        return Ok(Some(hex(&Sha256::digest(&lines))));
    }
    // Of images that had some before.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(None),
    }
}

/// Refuses captions that are not those of the latents.
pub(super) fn check(folder: &Path, sha256: &str) -> Result<()> {
    let path = folder.join(NAME);
    let shown = path.display();
    let bytes = fs::read(&path)
        .with_context(|| format!("{shown}: cannot be read; run 'dmp cache' again"))?;
    ensure!(
        hex(&Sha256::digest(&bytes)) == sha256,
        "{shown}: is not what 'dmp cache' wrote beside these latents; run it again"
    );
    Ok(())
}
