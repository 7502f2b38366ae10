//! Parquet files of image data sets as Hugging Face publishes them: a column of encoded images, one of classes, one of
//! captions.

use std::cell::Cell;
use std::fs::File;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, Once, PoisonError};

use ::parquet::basic::Type;
use ::parquet::column::reader::get_typed_column_reader;
use ::parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use ::parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use anyhow::{Context, Result, bail, ensure};

use super::Item;
use super::columns::Columns;

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
    images: Arc<Texts>,
    /// Where images' files are, of a group that has any.
    paths: Option<Arc<Texts>>,
}

type Texts = Vec<Option<ByteArray>>;

/// Lists the images of all files, in their order there, and how many classes the data set declares.
pub(super) fn open(files: &[PathBuf]) -> Result<(Rows, Vec<Item>, usize)> {
    let (mut items, mut places, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (file, path) in files.iter().enumerate() {
        let columns = whole(path, || list(file, path, &mut places, &mut items))?;
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

/// Lists the images of one file.
fn list(
    file: usize,
    path: &Path,
    places: &mut Vec<Place>,
    items: &mut Vec<Item>,
) -> Result<Columns> {
    let shown = path.display();
    let reader = reader(path)?;
    let columns = Columns::of(&reader).with_context(|| format!("{shown}"))?;
    let length = std::fs::metadata(path)?.len();
    let first = places.len();
    for group in 0..reader.num_row_groups() {
        let rows = reader.get_row_group(group)?;
        // Rows that are said and not there would be made room for.
        let said = rows.metadata().num_rows();
        let values = rows.metadata().column(columns.image).num_values();
        ensure!(
            said == values && u64::try_from(said).is_ok_and(|rows| rows <= length),
            "{shown}: says {said} rows and has {values} images in {length} bytes; download it again"
        );
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
                name: format!("{shown}[{}]", places.len() - first),
                label: label.and_then(|label| label.try_into().ok()),
                caption: caption.and_then(|text| Some(text.as_utf8().ok()?.to_owned())),
            });
            places.push(Place { file, group, row });
        }
    }
    Ok(columns)
}

thread_local! {
    /// Whether this thread's panics are an error of a file.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Does `work` on a file; the reader panics at some files that are damaged, which becomes an error too.
fn whole<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    outcome.unwrap_or_else(|_| bail!("{}: is damaged; download it again", path.display()))
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

impl Rows {
    /// The bytes of an image.
    pub(super) fn read(&self, index: usize) -> Result<Vec<u8>> {
        let place = self.places[index];
        let path = &self.files[place.file];
        let (images, paths) = whole(path, || self.group(place))
            .with_context(|| format!("{}: cannot be read", path.display()))?;
        if let Some(bytes) = &images[place.row] {
            return Ok(bytes.data().to_vec());
        }
        let named = paths.as_ref().and_then(|paths| paths[place.row].as_ref());
        beside(path, named.context("the row has no image")?.as_utf8()?)
    }

    fn group(&self, place: Place) -> Result<(Arc<Texts>, Option<Arc<Texts>>)> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_ref()
            && (held.file, held.group) == (place.file, place.group)
        {
            return Ok((held.images.clone(), held.paths.clone()));
        }
        let reader = reader(&self.files[place.file])?;
        let rows = reader.get_row_group(place.group)?;
        let columns = &self.columns[place.file];
        let texts = |column| column_of::<ByteArrayType>(rows.as_ref(), column).map(Arc::new);
        let images = texts(columns.image)?;
        let elsewhere = images.iter().any(Option::is_none);
        let paths = columns.path.filter(|_| elsewhere).map(texts).transpose()?;
        *held = Some(Held {
            file: place.file,
            group: place.group,
            images: images.clone(),
            paths: paths.clone(),
        });
        Ok((images, paths))
    }
}

/// An image that the table only says the file of, in the folder of the table or below it.
fn beside(table: &Path, named: &str) -> Result<Vec<u8>> {
    let inside = Path::new(named)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let path = table.with_file_name(named);
    ensure!(
        inside && path.is_file(),
        "'{named}' is no file in the folder of the table"
    );
    super::read(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_elsewhere_lie_below_the_table() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("data/0.parquet");
        std::fs::create_dir_all(folder.path().join("data/images")).unwrap();
        std::fs::write(folder.path().join("data/images/1.png"), "one").unwrap();
        std::fs::write(folder.path().join("2.png"), "two").unwrap();
        assert_eq!(beside(&table, "images/1.png").unwrap(), b"one");
        let absolute = folder.path().join("2.png").display().to_string();
        for named in [
            "../2.png",
            "/dev/zero",
            "images",
            "images/../../2.png",
            &absolute,
        ] {
            let error = beside(&table, named).unwrap_err().to_string();
            assert!(error.contains("no file in the folder"), "{error}");
        }
    }
}
