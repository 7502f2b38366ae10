//! Files that PyTorch saves: `torch.save` (zip archives since 1.6, and the stream of pickles before) and TorchScript.
//!
//! A pickle is a program for a machine that can call any Python function. Here it is parsed and nothing is called:
//! it gives a tree of plain values in which a function or a class is a name, and a tensor is recognised by the names
//! that PyTorch uses. So a file can be read whatever it holds, and it can do nothing.
//!
//! | module | what it holds |
//! |---|---|
//! | `pickle` | the machine, from bytes to a tree |
//! | `input` | the bytes the machine reads |
//! | `tree` | the tree |
//! | `archive` | where the pickle and the numbers lie in each kind of file |
//! | `tensor` | tensors in the tree, and their numbers |
//! | `write` | the other way: a dictionary of tensors, texts and numbers |

mod archive;
mod input;
mod pickle;
mod stack;
mod tensor;
mod tree;
mod write;

use std::borrow::Cow;
use std::collections::BTreeSet;

use archive::Archive;
use pickle::MOST_VALUES;
pub use pickle::PickleError;
use tree::{Id, Node, Tree};
pub use write::{Value, to_bytes};

use super::Tensors;

/// Why a PyTorch file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TorchError {
    /// Neither of the containers PyTorch writes.
    #[error(
        "not a file that PyTorch saved, or not a whole one ({0}); copy it again, or convert it to safetensors"
    )]
    Container(String),
    /// The pickle inside is broken.
    #[error("the pickle inside cannot be read: {0}")]
    Pickle(#[from] PickleError),
    /// A tensor does not fit its numbers.
    #[error("tensor '{name}': {reason}")]
    Tensor {
        /// Path of the tensor.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// A PyTorch file, parsed: a tree of values, some of them tensors.
pub struct TorchFile {
    tree: Tree,
    root: Id,
    archive: Archive,
}

impl TorchFile {
    /// Whether bytes begin as a PyTorch file does.
    pub fn is_one(bytes: &[u8]) -> bool {
        archive::is_zip(bytes) || archive::is_legacy(bytes)
    }

    /// Parses a whole file.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, TorchError> {
        let (archive, pickle) = Archive::open(bytes)?;
        let (tree, root, _) = pickle::parse(&pickle)?;
        Ok(Self {
            tree,
            root,
            archive,
        })
    }

    /// Names at the top: of a dictionary its keys, of an object its attributes.
    pub fn names(&self) -> Vec<Cow<'_, str>> {
        let entries = self.tree.entries(self.root).into_iter();
        entries.map(|(name, _)| name).collect()
    }

    /// All tensors under the top's entry `name`, or under the top itself, by their path: keys, attributes and indices
    /// joined with dots, as a state dictionary names them.
    ///
    /// # Errors
    /// A tensor that cannot be read, or two of one name.
    pub fn tensors(&self, name: Option<&str>) -> Result<Tensors, TorchError> {
        let start = match name {
            None => Some(self.root),
            Some(name) => self.tree.entry(self.root, name),
        };
        let mut layouts = match start {
            Some(start) => self.layouts(start)?,
            None => Vec::new(),
        };
        // Each storage is read once, however many views it has.
        layouts.sort_by(|(_, a), (_, b)| a.storage.cmp(&b.storage));
        let mut found = Tensors::new();
        let mut room = MOST_SHARING * self.archive.len();
        for alike in layouts.chunk_by(|(_, a), (_, b)| a.storage == b.storage) {
            let (first, layout) = &alike[0];
            let bytes = self.archive.storage(&layout.storage);
            let bytes = bytes.map_err(|reason| fault(first, reason))?;
            for (name, layout) in alike {
                let count = layout.count(&bytes).map_err(|reason| fault(name, reason))?;
                let shared = || fault(name, "shares its numbers with too many others".to_owned());
                room = room.checked_sub(4 * count).ok_or_else(shared)?;
                let tensor = layout.read(&bytes).map_err(|reason| fault(name, reason))?;
                if found.insert(name.clone(), tensor).is_some() {
                    return Err(fault(name, "two have this name".to_owned()));
                }
            }
        }
        Ok(found)
    }

    /// Where all tensors below are. Each container is entered once, however often it is mentioned: trees may share branches,
    /// or hold themselves.
    fn layouts(&self, start: Id) -> Result<Vec<(String, tensor::Layout)>, TorchError> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        // Names, each with the place of the one above it.
        let mut names: Vec<(Cow<'_, str>, usize)> = vec![("".into(), 0)];
        let mut waiting = vec![(start, 0)];
        let mut room = self.archive.len() + LONGEST_NAME;
        while let Some((id, place)) = waiting.pop() {
            match tensor::layout(&self.tree, id) {
                Some(layout) => {
                    let path = path(&names, place)?;
                    let many = || fault(&path, "is one of too many of long names".to_owned());
                    room = room.checked_sub(path.len() + 1).ok_or_else(many)?;
                    let layout = layout.map_err(|reason| fault(&path, reason))?;
                    found.push((path, layout));
                }
                None if seen.insert(id) => {
                    for (key, child) in self.tree.entries(id) {
                        names.push((key, place));
                        waiting.push((child, names.len() - 1));
                    }
                    // An object's attributes are its own, and those of all that have them too.
                    if names.len() > MOST_VALUES {
                        return Err(PickleError::Many.into());
                    }
                }
                None => {}
            }
        }
        Ok(found)
    }

    /// [`tensors`](Self::tensors) without the prefixes of what wraps a model to train it: `module.` of several devices, `_orig_mod.` of a
    /// compiler, whichever is outside.
    ///
    /// # Errors
    /// As there, and where two are one without them.
    pub fn unwrapped(&self, name: Option<&str>) -> Result<Tensors, TorchError> {
        let mut found = Tensors::new();
        for (name, tensor) in self.tensors(name)? {
            let mut inner = name.as_str();
            while let Some(rest) =
                (inner.strip_prefix("module.")).or_else(|| inner.strip_prefix("_orig_mod."))
            {
                inner = rest;
            }
            if found.insert(inner.to_owned(), tensor).is_some() {
                return Err(fault(
                    inner,
                    "there are two, with a wrapper's prefix and without".to_owned(),
                ));
            }
        }
        Ok(found)
    }

    /// The value at a path of names, as text, a number or a truth value, for configuration beside the tensors.
    pub fn text(&self, path: &[&str]) -> Option<String> {
        let mut at = self.root;
        for name in path {
            at = self.tree.entry(at, name)?;
        }
        match self.tree.node(at) {
            Node::Text(text) => Some(text.clone()),
            Node::Int(value) => Some(value.to_string()),
            Node::Float(value) => Some(value.to_string()),
            Node::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }
}

/// Longest name of a tensor, in bytes; those of models have a hundred.
const LONGEST_NAME: usize = 4096;

/// Tensors that share storages come to this many times the file at the most; tied weights to less than twice.
const MOST_SHARING: usize = 16;

fn fault(name: &str, reason: String) -> TorchError {
    TorchError::Tensor {
        name: name.to_owned(),
        reason,
    }
}

/// The name at `place` with all those above it.
fn path(names: &[(Cow<'_, str>, usize)], mut place: usize) -> Result<String, TorchError> {
    let mut parts = Vec::new();
    let mut length = 0;
    while place > 0 {
        let (name, above) = &names[place];
        length += name.len() + 1;
        if length > LONGEST_NAME {
            let shown: String = name.chars().take(40).collect();
            let reason =
                format!("its whole name has more than {LONGEST_NAME} bytes, as no model's");
            return Err(fault(&format!("…{shown}"), reason));
        }
        parts.push(name.as_ref());
        place = *above;
    }
    parts.reverse();
    Ok(parts.join("."))
}
