//! Records of the same settings that were made on another machine, or in another folder.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::record::{self, Record};

/// Folders of records, laid out as a sweep's own.
#[derive(Debug, Clone, Copy)]
pub struct Elsewhere<'a>(pub &'a [PathBuf]);

/// What a record from elsewhere must be of.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Its file in the setting's folder.
    pub(super) file: OsString,
    /// Stamps of what its flags name, as they are here.
    pub(super) inputs: BTreeMap<String, String>,
}

impl Elsewhere<'_> {
    /// Records of all `wanted` of the setting with this hash, which says its flags whatever it is called, from one folder and of one
    /// product: a training stands for nothing without what was measured of that very one. `product` is what is here, if anything is.
    pub(super) fn records(
        &self,
        setting: &str,
        wanted: &[Wanted],
        product: Option<&str>,
    ) -> Option<Vec<Record>> {
        let mut folders = self.0.iter().flat_map(|folder| of_setting(folder, setting));
        folders.find_map(|folder| {
            let records: Option<Vec<Record>> = wanted
                .iter()
                .map(|wanted| {
                    record::read(&folder.join(&wanted.file)).filter(|record| wanted.is(record))
                })
                .collect();
            records.filter(|records| {
                let one = records
                    .windows(2)
                    .all(|two| two[0].product == two[1].product);
                let of = records.first().and_then(|first| first.product.as_deref());
                one && product.is_none_or(|here| of == Some(here))
            })
        })
    }
}

impl Wanted {
    fn is(&self, record: &Record) -> bool {
        // What one machine does not have, the other need not have either; the embedded model both have.
        let alike = |(flag, here): (&String, &String)| {
            (record.inputs.get(flag)).map_or(!here.starts_with("embedded"), |there| {
                lasting(here) == lasting(there)
            })
        };
        self.inputs.iter().all(alike)
    }
}

/// Folders of the setting with this hash: recipes may have other names for it.
fn of_setting(folder: &Path, hash: &str) -> Vec<PathBuf> {
    let ending = format!("-{hash}");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(&ending))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// The part of a stamp that is the same for a copy on another machine: a file's length, and nothing of a folder or of several files.
fn lasting(stamp: &str) -> &str {
    if let Some(kind) = ["folder", "files"]
        .into_iter()
        .find(|kind| stamp.starts_with(kind))
    {
        return kind;
    }
    stamp.split(", changed").next().unwrap_or(stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(product: &str, model: &str) -> Record {
        Record {
            command: "dmp train".to_owned(),
            inputs: BTreeMap::from([("model".to_owned(), model.to_owned())]),
            product: Some(product.to_owned()),
            seconds: 1.0,
            found: serde_json::Value::Null,
        }
    }

    #[test]
    fn a_training_counts_with_what_was_measured_of_it() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let paths: Vec<PathBuf> = folders.iter().map(|dir| dir.path().to_owned()).collect();
        let put = |folder: usize, name: &str, record: &Record| {
            let json = serde_json::to_vec(record).unwrap();
            let setting = paths[folder].join(format!("called-{folder}-5eed"));
            fs::create_dir_all(&setting).unwrap();
            fs::write(setting.join(name), json).unwrap();
        };
        let here = "10 bytes, changed at 5";
        let wanted = ["train", "eval"].map(|name| Wanted {
            file: name.into(),
            inputs: BTreeMap::from([("model".to_owned(), here.to_owned())]),
        });
        let found = |product| {
            assert!(
                Elsewhere(&paths)
                    .records("5eec", &wanted, product)
                    .is_none()
            );
            let records = Elsewhere(&paths).records("5eed", &wanted, product)?;
            Some(records[1].product.clone().unwrap())
        };
        let there = "10 bytes, changed at 9";
        put(0, "train", &record("a", there));
        assert_eq!(found(None), None, "nothing was measured");
        put(0, "eval", &record("b", there));
        assert_eq!(found(None), None, "of another training");
        put(1, "train", &record("b", there));
        assert_eq!(found(None), None, "in two folders");
        put(1, "eval", &record("b", there));
        assert_eq!(found(None).as_deref(), Some("b"));
        assert_eq!(found(Some("b")).as_deref(), Some("b"));
        assert_eq!(found(Some("c")), None, "something else was trained here");
        put(1, "eval", &record("b", "11 bytes, changed at 9"));
        assert_eq!(found(None), None, "another model");
        put(0, "eval", &record("a", "embedded 12"));
        assert_eq!(found(None), None, "a model of another kind");
    }
}
