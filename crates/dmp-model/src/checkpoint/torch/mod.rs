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

use std::collections::BTreeSet;

use archive::Archive;
pub use pickle::PickleError;
use tree::{Id, Node, Tree};
pub use write::{Value, to_bytes};

use super::{HostTensor, Tensors};

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
    pub fn names(&self) -> Vec<String> {
        self.tree
            .entries(self.root)
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }

    /// All tensors under the top's entry `name`, or under the top itself, by their path: keys, attributes and indices
    /// joined with dots, as a state dictionary names them.
    pub fn tensors(&self, name: Option<&str>) -> Result<Tensors, TorchError> {
        let start = match name {
            None => Some(self.root),
            Some(name) => self
                .tree
                .entries(self.root)
                .into_iter()
                .find_map(|(key, id)| (key == name).then_some(id)),
        };
        let mut found = Tensors::new();
        if let Some(start) = start {
            let mut seen = BTreeSet::new();
            self.collect(start, String::new(), &mut seen, &mut found)?;
        }
        Ok(found)
    }

    /// Each container is entered once, however often it is mentioned: trees may share branches, or hold themselves.
    fn collect(
        &self,
        start: Id,
        path: String,
        seen: &mut BTreeSet<Id>,
        found: &mut Tensors,
    ) -> Result<(), TorchError> {
        let mut waiting = vec![(start, path)];
        while let Some((id, path)) = waiting.pop() {
            if let Some(layout) = tensor::layout(&self.tree, id) {
                let tensor = self.read(&layout, &path)?;
                found.insert(path, tensor);
            } else if seen.insert(id) {
                for (key, child) in self.tree.entries(id) {
                    let path = if path.is_empty() {
                        key
                    } else {
                        format!("{path}.{key}")
                    };
                    waiting.push((child, path));
                }
            }
        }
        Ok(())
    }

    fn read(&self, layout: &tensor::Layout, name: &str) -> Result<HostTensor, TorchError> {
        let fault = |reason: String| TorchError::Tensor {
            name: name.to_owned(),
            reason,
        };
        let bytes = self.archive.storage(&layout.storage).map_err(fault)?;
        layout.read(&bytes).map_err(fault)
    }

    /// The value at a path of names, as text, a number or a truth value, for configuration beside the tensors.
    pub fn text(&self, path: &[&str]) -> Option<String> {
        let mut at = self.root;
        for name in path {
            at = self
                .tree
                .entries(at)
                .into_iter()
                .find_map(|(key, id)| (key == *name).then_some(id))?;
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
