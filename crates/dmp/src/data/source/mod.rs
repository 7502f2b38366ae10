//! Images that a user names, wherever they lie: files in folders, members of tar files, rows of parquet files, an `.npz`.
//!
//! | module | what it reads |
//! |---|---|
//! | `files` | which files a name stands for |
//! | `split` | of several splits only one is taken |
//! | `signature` | whether they are those that they were |
//! | `folder` | image files, a sub-folder a class |
//! | `tar` | WebDataset: members of one key are one image |
//! | `parquet`, `columns` | image data sets of Hugging Face |
//! | `captions` | what is written about images, kept for later use |

mod captions;
mod columns;
mod files;
mod folder;
mod parquet;
mod signature;
mod split;
mod tar;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use dmp_model::checkpoint::hex;
use sha2::{Digest, Sha256};

use super::Picture;
use super::array::ImageArray;
use files::Kind;
pub use signature::{is_there, signature};

/// Images in an order of their own, read one at a time.
pub struct Source {
    store: Store,
    items: Vec<Item>,
    classes: usize,
}

/// What is known of an image without reading it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Item {
    /// Where it is, for people.
    pub name: String,
    /// Its class, if it has one.
    label: Option<u32>,
    /// What is written about it.
    pub caption: Option<String>,
}

/// Where the bytes are.
enum Store {
    Files(Vec<PathBuf>),
    Members(tar::Members),
    Rows(parquet::Rows),
    Array(ImageArray),
}

/// An image's bytes, as they lie there.
pub enum Content {
    /// A PNG, JPEG, WebP or BMP file.
    Encoded(Vec<u8>),
    /// Pixels.
    Plain(Picture),
}

/// More than any data set has; a label beyond is a number of another kind.
pub const MOST_CLASSES: usize = 1 << 20;

impl Source {
    /// Finds the images in what `name` stands for: a folder, a file, or several by a `*` in the file's name.
    ///
    /// # Errors
    /// When nothing is there, or it is not what its ending says.
    pub fn open(name: &str) -> Result<Self> {
        let found = files::find(name)?;
        let (store, items, classes) = match found.kind {
            Kind::Images => {
                let (items, classes) = folder::items(&found.root, &found.paths)?;
                (Store::Files(found.paths), items, classes)
            }
            Kind::Tar => {
                let (members, items) = tar::open(&found.paths)?;
                (Store::Members(members), items, 0)
            }
            Kind::Parquet => {
                let (rows, items, classes) = parquet::open(&found.paths)?;
                (Store::Rows(rows), items, classes)
            }
            Kind::Npz => {
                let (array, items) = array(&found.paths[0])?;
                (Store::Array(array), items, 0)
            }
        };
        ensure!(
            !items.is_empty(),
            "{name}: no images there; give files that hold some"
        );
        let mut source = Self {
            store,
            items,
            classes,
        };
        source.settle_classes(name)?;
        Ok(source)
    }

    /// Where not every image has a class none has, and classes that nobody counted are as many as the labels need.
    fn settle_classes(&mut self, name: &str) -> Result<()> {
        let labelled = self.items.iter().all(|item| item.label.is_some());
        let largest = self.items.iter().filter_map(|item| item.label).max();
        let Some(largest) = largest.filter(|_| labelled) else {
            if largest.is_some() {
                let count = self
                    .items
                    .iter()
                    .filter(|item| item.label.is_some())
                    .count();
                let without = self.items.iter().find(|item| item.label.is_none());
                crate::tell!(
                    "note: {name}: {count} of {} images have a class, {} has none; no class is used",
                    self.items.len(),
                    without.map_or("", |item| &item.name)
                );
            }
            self.items.iter_mut().for_each(|item| item.label = None);
            self.classes = 1;
            return Ok(());
        };
        self.classes = self.classes.max(largest as usize + 1);
        ensure!(
            self.classes <= MOST_CLASSES,
            "{name}: a label is {largest}; classes count from 0 to at most {}",
            MOST_CLASSES - 1
        );
        Ok(())
    }

    /// What is known of each image, in order.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// A class an image; 0 where there are none.
    pub fn label(&self, index: usize) -> u32 {
        self.items[index].label.unwrap_or(0)
    }

    /// Classes; labels are below it.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Reads one image's bytes. Rows of parquet files are read fastest in their order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn content(&self, index: usize) -> Result<Content> {
        Ok(match &self.store {
            Store::Files(paths) => Content::Encoded(read(&paths[index])?),
            Store::Members(members) => Content::Encoded(members.read(index)?),
            Store::Rows(rows) => Content::Encoded(rows.read(index)?),
            Store::Array(array) => Content::Plain(array.picture(index)),
        })
    }
}

impl Content {
    /// The picture, decoded.
    ///
    /// # Errors
    /// When the bytes are no image.
    pub fn picture(self) -> Result<Picture> {
        match self {
            Self::Encoded(bytes) => Picture::decode(&bytes),
            Self::Plain(picture) => Ok(picture),
        }
    }

    /// SHA-256 in hexadecimal.
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        match self {
            Self::Encoded(bytes) => hasher.update(bytes),
            Self::Plain(picture) => {
                hasher.update(format!("{} {:?} ", picture.channels, picture.size));
                hasher.update(&picture.planes);
            }
        }
        hex(&hasher.finalize())
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))
}

fn array(path: &Path) -> Result<(ImageArray, Vec<Item>)> {
    let array = ImageArray::read(path)?;
    let items = (0..array.count)
        .map(|index| Item {
            name: format!("{}[{index}]", path.display()),
            label: array.labels.as_ref().map(|labels| labels[index]),
            caption: None,
        })
        .collect();
    Ok((array, items))
}
