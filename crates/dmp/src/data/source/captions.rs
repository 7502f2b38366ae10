//! What is written about images: a `.txt` beside each, or a `metadata.jsonl` or `captions.jsonl` in their folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// Fields that hold a caption, the first found wins.
const FIELDS: [&str; 3] = ["text", "caption", "prompt"];

/// Files of a caption a line.
const TABLES: [&str; 2] = ["metadata.jsonl", "captions.jsonl"];

/// The tables of the folders met so far.
#[derive(Default)]
pub(super) struct Captions {
    tables: BTreeMap<PathBuf, BTreeMap<String, String>>,
}

impl Captions {
    /// The caption of the image file at `path`.
    ///
    /// # Errors
    /// When a file of captions cannot be read or understood.
    pub(super) fn of(&mut self, path: &Path) -> Result<Option<String>> {
        let beside = path.with_extension("txt");
        if beside.is_file() {
            let text = fs::read_to_string(&beside)
                .with_context(|| format!("{}: cannot be read as text", beside.display()))?;
            return Ok(Some(text.trim().to_owned()));
        }
        // A table may lie in a folder further up, and names files from there.
        for folder in path.ancestors().skip(1).take(2) {
            if !self.tables.contains_key(folder) {
                self.tables.insert(folder.to_owned(), table(folder)?);
            }
            let inside = path.strip_prefix(folder).ok().and_then(Path::to_str);
            if let Some(caption) = inside.and_then(|name| self.tables[folder].get(name)) {
                return Ok(Some(caption.clone()));
            }
        }
        Ok(None)
    }
}

fn table(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut captions = BTreeMap::new();
    for name in TABLES {
        let path = folder.join(name);
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let entry: Map<String, Value> = serde_json::from_str(line).with_context(|| {
                format!(
                    "{}: line {} is no JSON object; give one an image, with \"file_name\" and \"text\"",
                    path.display(),
                    number + 1
                )
            })?;
            let file = entry.get("file_name").and_then(Value::as_str);
            if let (Some(file), Some(caption)) = (file, of_fields(&entry)) {
                captions.insert(file.to_owned(), caption);
            }
        }
    }
    Ok(captions)
}

/// The caption among an image's fields.
pub(super) fn of_fields(fields: &Map<String, Value>) -> Option<String> {
    let field = FIELDS.iter().find_map(|name| fields.get(*name)?.as_str());
    field.map(str::to_owned)
}

/// Whether a field of this name holds a caption.
pub(super) fn is_field(name: &str) -> bool {
    FIELDS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_lie_beside_images_or_in_a_table() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("cats")).unwrap();
        fs::write(at("1.txt"), "a cat\n").unwrap();
        let table = "{\"file_name\": \"cats/2.png\", \"caption\": \"two\"}\n\n{\"file_name\": \"3.png\", \"text\": \"three\"}\n";
        fs::write(at("metadata.jsonl"), table).unwrap();
        let mut captions = Captions::default();
        for (name, caption) in [
            ("1.png", Some("a cat")),
            ("cats/2.png", Some("two")),
            ("3.png", Some("three")),
            ("4.png", None),
        ] {
            assert_eq!(
                captions.of(&at(name)).unwrap().as_deref(),
                caption,
                "{name}"
            );
        }
        fs::write(at("captions.jsonl"), "{}\nno json\n").unwrap();
        let error = Captions::default()
            .of(&at("4.png"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("captions.jsonl: line 2"), "{error}");
    }
}
