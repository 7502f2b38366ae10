//! `captions.jsonl` in a folder of latents: what is written about the images, a line a latent in their order.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::data::source::Item;
use crate::output::write_atomic;

/// The file.
const NAME: &str = "captions.jsonl";

/// Writes the captions of these images; where none has one, no file.
pub(super) fn write<'a>(folder: &Path, items: impl Iterator<Item = &'a Item>) -> Result<()> {
    let path = folder.join(NAME);
    let (mut lines, mut any) = (String::new(), false);
    for item in items {
        any |= item.caption.is_some();
        lines += &json!({ "image": item.name, "caption": item.caption }).to_string();
        lines.push('\n');
    }
    if any {
        write_atomic(&path, lines.as_bytes())?;
    } else if path.exists() {
        // Of images that had some before.
        fs::remove_file(&path)?;
    }
    Ok(())
}
