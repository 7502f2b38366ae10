//! The containers: a zip archive, or the stream of pickles that PyTorch wrote before 1.6.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::ops::Range;
use std::sync::Mutex;

use super::tree::{Node, Tree};
use super::{TorchError, pickle};

/// The first pickle of a stream: the number 0x1950a86a20f9469cfc6c.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Storages by name.
pub enum Archive {
    /// In a zip archive: their folder, and the length of the file.
    Zip(Mutex<zip::ZipArchive<Cursor<Vec<u8>>>>, String, usize),
    /// In a stream: the bytes of each.
    Stream(Vec<u8>, BTreeMap<String, Range<usize>>),
}

pub fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// A pickle that begins with PyTorch's number.
pub fn is_legacy(bytes: &[u8]) -> bool {
    bytes
        .get(..16)
        .is_some_and(|head| head.windows(10).any(|window| window == LEGACY_MAGIC))
}

impl Archive {
    /// Opens a file; gives also its main pickle.
    pub fn open(bytes: Vec<u8>) -> Result<(Self, Vec<u8>), TorchError> {
        if is_zip(&bytes) {
            return open_zip(bytes);
        }
        if is_legacy(&bytes) {
            return open_stream(bytes);
        }
        Err(TorchError::Container(
            "it is neither a zip archive nor a stream of pickles".to_owned(),
        ))
    }

    /// Bytes of the whole file.
    pub fn len(&self) -> usize {
        match self {
            Self::Zip(_, _, length) => *length,
            Self::Stream(bytes, _) => bytes.len(),
        }
    }

    /// The bytes of a storage.
    pub fn storage(&self, name: &str) -> Result<Cow<'_, [u8]>, String> {
        match self {
            Self::Zip(archive, folder, _) => {
                let mut archive = archive.lock().map_err(|error| error.to_string())?;
                Ok(read(&mut archive, &format!("{folder}data/{name}"))?.into())
            }
            Self::Stream(bytes, places) => places
                .get(name)
                .map(|place| Cow::Borrowed(&bytes[place.clone()]))
                .ok_or_else(|| format!("its storage '{name}' is not in the file")),
        }
    }
}

type Zip = zip::ZipArchive<Cursor<Vec<u8>>>;

fn open_zip(bytes: Vec<u8>) -> Result<(Archive, Vec<u8>), TorchError> {
    let fault = |reason: String| TorchError::Container(reason);
    let length = bytes.len();
    let mut archive: Zip =
        zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| fault(error.to_string()))?;
    let folders = archive.file_names().filter_map(|name| {
        let folder = name.as_ref().ok()?.strip_suffix("data.pkl")?;
        (folder.is_empty() || folder.ends_with('/')).then(|| folder.to_owned())
    });
    let folder = match folders.collect::<Vec<_>>().as_slice() {
        [folder] => folder.clone(),
        [] => return Err(fault("a zip archive without data.pkl".to_owned())),
        _ => return Err(fault("a zip archive with several data.pkl".to_owned())),
    };
    if let Ok(order) = read(&mut archive, &format!("{folder}byteorder"))
        && order != b"little"
    {
        return Err(fault(
            "written on a big-endian machine, which this program does not read".to_owned(),
        ));
    }
    let main = read(&mut archive, &format!("{folder}data.pkl")).map_err(fault)?;
    Ok((Archive::Zip(Mutex::new(archive), folder, length), main))
}

fn read(archive: &mut Zip, name: &str) -> Result<Vec<u8>, String> {
    let mut file = archive
        .by_name(name)
        .map_err(|error| format!("{name}: {error}"))?;
    // PyTorch stores without compression; what is packed could unpack to any size.
    if file.compression() != zip::CompressionMethod::Stored {
        return Err(format!("{name}: compressed, which PyTorch never writes"));
    }
    // A header may promise any size; what is read is what is there.
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(|error| format!("{name}: {error}"))?;
    Ok(bytes)
}

/// Number, version, machine, the object, names of the storages, then each storage: its count and its numbers.
fn open_stream(bytes: Vec<u8>) -> Result<(Archive, Vec<u8>), TorchError> {
    let mut at = 0;
    for _ in 0..3 {
        at += pickle::parse(&bytes[at..])?.2;
    }
    let start = at;
    let (tree, _, taken) = pickle::parse(&bytes[at..])?;
    at += taken;
    let main = bytes[start..at].to_vec();
    let widths = widths(&tree);
    let (names, root, taken) = pickle::parse(&bytes[at..])?;
    at += taken;
    let mut places = BTreeMap::new();
    for &id in names.sequence(root).unwrap_or_default() {
        let Node::Text(name) = names.node(id) else {
            continue;
        };
        let short = || TorchError::Container(format!("storage '{name}' is cut off"));
        let count = bytes
            .get(at..)
            .and_then(|rest| rest.first_chunk::<8>())
            .map(|count| u64::from_le_bytes(*count))
            .ok_or_else(short)?;
        let width = widths.get(name).copied().ok_or_else(short)?;
        let end = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(width))
            .and_then(|length| (at + 8).checked_add(length))
            .filter(|&end| end <= bytes.len())
            .ok_or_else(short)?;
        places.insert(name.clone(), at + 8..end);
        at = end;
    }
    Ok((Archive::Stream(bytes, places), main))
}

/// Bytes of a number in each storage that the object names.
fn widths(tree: &Tree) -> BTreeMap<String, usize> {
    (0..tree.len())
        .filter_map(|id| {
            let Node::Outside(name) = *tree.node(id) else {
                return None;
            };
            let &[_, class, key, ..] = tree.sequence(name)? else {
                return None;
            };
            let Node::Text(key) = tree.node(key) else {
                return None;
            };
            let width = super::tensor::width(tree.global(class)?)?;
            Some((key.clone(), width))
        })
        .collect()
}
