//! Which columns of a parquet file hold images, classes and captions.

use std::fs::File;

use ::parquet::basic::Type;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::captions;

/// Which columns hold what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) image: usize,
    /// Where an image's file is, if its bytes are not in the table.
    pub(super) path: Option<usize>,
    pub(super) label: Option<usize>,
    pub(super) caption: Option<usize>,
    /// Classes that the data set declares.
    pub(super) classes: usize,
}

/// Names of a column of images where nothing declares one.
const IMAGES: [&str; 6] = ["image", "img", "jpg", "jpeg", "png", "webp"];

/// Names of a column of classes where nothing declares one.
const LABELS: [&str; 4] = ["label", "labels", "cls", "class"];

impl Columns {
    /// By what the data set declares, else by their names.
    pub(super) fn of(reader: &SerializedFileReader<File>) -> Result<Self> {
        let file = reader.metadata().file_metadata();
        let declared = file
            .key_value_metadata()
            .and_then(|pairs| {
                pairs
                    .iter()
                    .find(|pair| pair.key == "huggingface")?
                    .value
                    .clone()
            })
            .and_then(|text| serde_json::from_str::<Value>(&text).ok())
            .map(|info| info["info"]["features"].clone())
            .unwrap_or_default();
        let is = |name: &str, kind: &str| declared[name]["_type"] == kind;
        let leaves: Vec<(String, Type)> = (file.schema_descr().columns().iter())
            // Of lists no row has one value.
            .filter(|leaf| leaf.max_rep_level() == 0)
            .map(|leaf| (leaf.path().string(), leaf.physical_type()))
            .collect();
        let index = |wanted: &str| {
            let all = file.schema_descr().columns();
            all.iter().position(|leaf| leaf.path().string() == wanted)
        };
        let find = |kind: &[Type], accepts: &dyn Fn(&str) -> bool| {
            let mut leaves = leaves.iter();
            leaves.find(|(name, leaf)| kind.contains(leaf) && accepts(name))
        };
        let bytes = [Type::BYTE_ARRAY];
        let named = |name: &str| IMAGES.contains(&name.strip_suffix(".bytes").unwrap_or(name));
        let pictures = |name: &str| {
            name.strip_suffix(".bytes")
                .is_some_and(|name| is(name, "Image"))
        };
        let image = find(&bytes, &|name| pictures(name) && named(name))
            .or_else(|| find(&bytes, &pictures))
            .or_else(|| find(&bytes, &named));
        let Some((image, _)) = image else {
            let names: Vec<&str> = leaves.iter().map(|(name, _)| name.as_str()).collect();
            bail!(
                "no column of images is there ({}); give a data set with a column 'image' of encoded images",
                if names.is_empty() {
                    "only lists".to_owned()
                } else {
                    names.join(", ")
                }
            );
        };
        let whole = [Type::INT32, Type::INT64];
        let all = |accepts: &dyn Fn(&str, &Type) -> bool| -> Vec<&str> {
            let leaves = leaves.iter().filter(|(name, leaf)| accepts(name, leaf));
            leaves.map(|(name, _)| name.as_str()).collect()
        };
        one_of(
            "images",
            &all(&|name, leaf| bytes.contains(leaf) && pictures(name)),
            image,
        );
        let declared_classes = all(&|name, leaf| whole.contains(leaf) && is(name, "ClassLabel"));
        let usual = |name: &str| LABELS.contains(&name);
        let label = find(&whole, &|name| usual(name) && is(name, "ClassLabel"))
            .or_else(|| find(&whole, &|name| is(name, "ClassLabel")))
            .or_else(|| find(&whole, &usual));
        if let Some((label, _)) = label {
            one_of("classes", &declared_classes, label);
        } else if let Some((name, _)) = leaves.iter().find(|(name, _)| usual(name)) {
            crate::tell!(
                "note: the column '{name}' is not of whole numbers, and is not used as classes"
            );
        }
        let classes = label.and_then(|(name, _)| Some(declared[name]["names"].as_array()?.len()));
        let path = image
            .strip_suffix(".bytes")
            .map(|name| format!("{name}.path"));
        Ok(Self {
            image: index(image).context("the column of images is gone")?,
            path: path.and_then(|path| index(&path)),
            label: label.and_then(|(name, _)| index(name)),
            caption: find(&bytes, &captions::is_field).and_then(|(name, _)| index(name)),
            classes: classes.unwrap_or(0),
        })
    }
}

/// Says which of several columns is used.
fn one_of(what: &str, columns: &[&str], used: &str) {
    if columns.len() > 1 {
        crate::tell!(
            "note: of the columns of {what} {}, '{used}' is used",
            columns.join(", ")
        );
    }
}
