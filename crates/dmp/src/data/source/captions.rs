//! What is written about images: a `.txt` beside each, or a `metadata.jsonl` or `captions.jsonl` in their folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
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
    /// The caption of the image file at `path`, which was found in `root`.
    ///
    /// # Errors
    /// When a file of captions cannot be read or understood.
    pub(super) fn of(&mut self, root: &Path, path: &Path) -> Result<Option<String>> {
        let beside = path.with_extension("txt");
        if beside.is_file() {
            let text = fs::read_to_string(&beside)
                .with_context(|| format!("{}: cannot be read as text", beside.display()))?;
            return Ok(Some(text.trim().to_owned()));
        }
        // A table may lie in a folder further up, and names files from there.
        for folder in folders(root, path) {
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

/// The folders from an image's own up to `root`.
fn folders<'a>(root: &Path, path: &'a Path) -> impl Iterator<Item = &'a Path> {
    let depth = path
        .strip_prefix(root)
        .map_or(1, |inside| inside.components().count());
    path.ancestors().skip(1).take(depth)
}

/// The files that may say something about images, of those that are there.
pub(super) fn files(root: &Path, images: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for image in images {
        all.insert(image.with_extension("txt"));
        for folder in folders(root, image) {
            if seen.insert(folder) {
                all.extend(TABLES.map(|name| folder.join(name)));
            }
        }
    }
    all.retain(|path| path.exists());
    all
}

fn table(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut captions = BTreeMap::new();
    for name in TABLES {
        let path = folder.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                bail!("{}: is not text in UTF-8; save it as that", path.display())
            }
            Err(error) => {
                return Err(error).with_context(|| format!("{}: cannot be read", path.display()));
            }
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
        fs::create_dir_all(at("cats/old/tabby")).unwrap();
        fs::create_dir(at("dogs")).unwrap();
        fs::write(at("dogs/metadata.jsonl"), [0xff, 0xfe]).unwrap();
        fs::write(at("1.txt"), "a cat\n").unwrap();
        let table = "{\"file_name\": \"cats/2.png\", \"caption\": \"two\"}\n\n{\"file_name\": \"cats/old/tabby/5.png\", \"text\": \"deep\"}\n{\"file_name\": \"3.png\", \"text\": \"three\"}\n";
        fs::write(at("metadata.jsonl"), table).unwrap();
        let mut captions = Captions::default();
        for (name, caption) in [
            ("1.png", Some("a cat")),
            ("cats/2.png", Some("two")),
            ("3.png", Some("three")),
            ("4.png", None),
            ("cats/old/tabby/5.png", Some("deep")),
        ] {
            assert_eq!(
                captions.of(folder.path(), &at(name)).unwrap().as_deref(),
                caption,
                "{name}"
            );
        }
        // Tables above the folder that was named are not of its images.
        let inside = Captions::default().of(&at("cats"), &at("cats/2.png"));
        assert_eq!(inside.unwrap(), None);
        let error = Captions::default().of(folder.path(), &at("dogs/1.png"));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("dogs/metadata.jsonl: is not text"),
            "{error}"
        );
        let all = [at("cats/2.png"), at("1.png")];
        let found: Vec<PathBuf> = files(folder.path(), &all).into_iter().collect();
        assert_eq!(found, [at("1.txt"), at("metadata.jsonl")]);

        fs::write(at("captions.jsonl"), "{}\nno json\n").unwrap();
        let error = Captions::default()
            .of(folder.path(), &at("4.png"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("captions.jsonl: line 2"), "{error}");
    }
}
