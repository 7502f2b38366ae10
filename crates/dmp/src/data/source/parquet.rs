//! Parquet files of image data sets as Hugging Face publishes them: a column of encoded images, one of classes, one of
//! captions.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ::parquet::basic::Type;
use ::parquet::column::reader::get_typed_column_reader;
use ::parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use ::parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Item, captions};

/// Where the images are.
pub(super) struct Rows {
    files: Vec<PathBuf>,
    columns: Vec<Columns>,
    places: Vec<Place>,
    /// The column of images of the row group read last: rows are read in their order.
    held: Mutex<Option<Held>>,
}

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    file: usize,
    group: usize,
    row: usize,
}

struct Held {
    file: usize,
    group: usize,
    images: Arc<Vec<Option<ByteArray>>>,
}

/// Which columns hold what.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Columns {
    image: usize,
    /// Where an image's file is, if its bytes are not in the table.
    path: Option<usize>,
    label: Option<usize>,
    caption: Option<usize>,
    /// Classes that the data set declares.
    classes: usize,
}

/// Names of a column of images where nothing declares one.
const IMAGES: [&str; 6] = ["image", "img", "jpg", "jpeg", "png", "webp"];

/// Names of a column of classes where nothing declares one.
const LABELS: [&str; 4] = ["label", "labels", "cls", "class"];

/// Lists the images of all files, in their order there, and how many classes the data set declares.
pub(super) fn open(files: &[PathBuf]) -> Result<(Rows, Vec<Item>, usize)> {
    let (mut items, mut places, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (file, path) in files.iter().enumerate() {
        let shown = path.display();
        let reader = reader(path)?;
        let columns = Columns::of(&reader).with_context(|| format!("{shown}"))?;
        for group in 0..reader.num_row_groups() {
            let rows = reader.get_row_group(group)?;
            let labels = (columns.label)
                .map(|column| numbers(rows.as_ref(), column))
                .transpose()
                .with_context(|| format!("{shown}: the classes cannot be read"))?;
            let captions = (columns.caption)
                .map(|column| column_of::<ByteArrayType>(rows.as_ref(), column))
                .transpose()
                .with_context(|| format!("{shown}: the captions cannot be read"))?;
            for row in 0..count(rows.as_ref()) {
                // Hugging Face marks what has no class with -1.
                let label = labels.as_ref().and_then(|labels| labels[row]);
                let caption = captions.as_ref().and_then(|texts| texts[row].as_ref());
                items.push(Item {
                    name: format!("{shown}[{}]", places.len()),
                    label: label.and_then(|label| label.try_into().ok()),
                    caption: caption.and_then(|text| Some(text.as_utf8().ok()?.to_owned())),
                });
                places.push(Place { file, group, row });
            }
        }
        all.push(columns);
    }
    let classes = all.iter().map(|columns| columns.classes).max();
    let rows = Rows {
        files: files.to_owned(),
        columns: all,
        places,
        held: Mutex::new(None),
    };
    Ok((rows, items, classes.unwrap_or(0)))
}

fn reader(path: &Path) -> Result<SerializedFileReader<File>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("{shown}: cannot be read"))?;
    SerializedFileReader::new(file)
        .with_context(|| format!("{shown}: is no whole parquet file; download it again"))
}

fn count(rows: &dyn RowGroupReader) -> usize {
    rows.metadata().num_rows().try_into().unwrap_or(0)
}

/// All values of a column that has one or none a row.
fn column_of<T: DataType>(rows: &dyn RowGroupReader, column: usize) -> Result<Vec<Option<T::T>>> {
    let count = count(rows);
    let level = rows
        .metadata()
        .schema_descr()
        .column(column)
        .max_def_level();
    let mut reader = get_typed_column_reader::<T>(rows.get_column_reader(column)?);
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let mut read = 0;
    while read < count {
        let (records, _, _) =
            reader.read_records(count - read, Some(&mut levels), None, &mut values)?;
        ensure!(records > 0, "{read} rows are there where {count} are said");
        read += records;
    }
    let mut values = values.into_iter();
    if level == 0 {
        return Ok(values.map(Some).collect());
    }
    let held = levels.iter().map(|&there| there == level);
    Ok(held
        .map(|held| held.then(|| values.next()).flatten())
        .collect())
}

fn numbers(rows: &dyn RowGroupReader, column: usize) -> Result<Vec<Option<i64>>> {
    let kind = rows
        .metadata()
        .schema_descr()
        .column(column)
        .physical_type();
    if kind == Type::INT64 {
        return column_of::<Int64Type>(rows, column);
    }
    let numbers = column_of::<Int32Type>(rows, column)?;
    Ok(numbers
        .into_iter()
        .map(|number| number.map(i64::from))
        .collect())
}

impl Columns {
    fn of(reader: &SerializedFileReader<File>) -> Result<Self> {
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
        let image = find(&bytes, &|name| {
            name.strip_suffix(".bytes")
                .is_some_and(|name| is(name, "Image"))
        })
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
        let label = find(&whole, &|name| is(name, "ClassLabel"))
            .or_else(|| find(&whole, &|name| LABELS.contains(&name)));
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

impl Rows {
    /// The bytes of an image.
    pub(super) fn read(&self, index: usize) -> Result<Vec<u8>> {
        let place = self.places[index];
        let path = &self.files[place.file];
        let images = self
            .group(place)
            .with_context(|| format!("{}: cannot be read", path.display()))?;
        if let Some(bytes) = &images[place.row] {
            return Ok(bytes.data().to_vec());
        }
        self.beside(place)
    }

    fn group(&self, place: Place) -> Result<Arc<Vec<Option<ByteArray>>>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_ref()
            && (held.file, held.group) == (place.file, place.group)
        {
            return Ok(held.images.clone());
        }
        let reader = reader(&self.files[place.file])?;
        let rows = reader.get_row_group(place.group)?;
        let column = self.columns[place.file].image;
        let images = Arc::new(column_of::<ByteArrayType>(rows.as_ref(), column)?);
        *held = Some(Held {
            file: place.file,
            group: place.group,
            images: images.clone(),
        });
        Ok(images)
    }

    /// An image that the table only says the file of, in the folder of the table.
    fn beside(&self, place: Place) -> Result<Vec<u8>> {
        let table = &self.files[place.file];
        let column = (self.columns[place.file].path).context("the row has no image")?;
        let reader = reader(table)?;
        let rows = reader.get_row_group(place.group)?;
        let paths = column_of::<ByteArrayType>(rows.as_ref(), column)?;
        let path = paths[place.row].as_ref().context("the row has no image")?;
        super::read(&table.with_file_name(path.as_utf8()?))
    }
}
