//! The tree that a pickle describes.

use std::borrow::Cow;

/// A node's place in its tree.
pub type Id = usize;

/// A value. Containers name their children, so that what is mentioned twice is there once, and a container may even
/// hold itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    /// Keys and values, in order.
    Dict(Vec<(Id, Id)>),
    /// A class or a function, by name: `module name`. Never looked up.
    Global(String),
    /// Something outside the pickle, by a name of the writer's.
    Outside(Id),
    /// What a class or a function would have made.
    Made(Made),
}

/// What would have been made of a class or a function: everything it was to be made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// A [`Node::Global`], or whatever stood in its place.
    pub maker: Id,
    /// A [`Node::Tuple`] of arguments, or whatever stood in its place.
    pub arguments: Id,
    /// State it was given, if any: mostly a [`Node::Dict`] of attributes.
    pub state: Option<Id>,
    /// Keys and values it was given as a dictionary.
    pub entries: Vec<(Id, Id)>,
    /// Values it was given as a list or a set.
    pub items: Vec<Id>,
}

/// All nodes of a pickle.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    pub fn add(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    pub fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id]
    }

    /// `module name` of a global.
    pub fn global(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Global(name) => Some(name),
            _ => None,
        }
    }

    pub fn integer(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of a tuple or a list.
    pub fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(items) | Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// Children with the names a state dictionary gives them: keys, indices, and of an object its attributes and
    /// entries. Keys that are neither text nor numbers are left out.
    pub fn entries(&self, id: Id) -> Vec<(Cow<'_, str>, Id)> {
        match self.node(id) {
            Node::Dict(pairs) => self.named(pairs),
            Node::List(items) | Node::Tuple(items) => indexed(items),
            Node::Made(made) => {
                let mut all = made.state.map_or_else(Vec::new, |state| self.state(state));
                all.extend(self.named(&made.entries));
                all.extend(indexed(&made.items));
                all
            }
            _ => Vec::new(),
        }
    }

    /// Attributes: a dictionary, or the pair (dictionary, slots) that Python uses for classes with slots. Nothing
    /// else is looked into: an object may be its own state.
    fn state(&self, id: Id) -> Vec<(Cow<'_, str>, Id)> {
        let attributes = |id: Id| match self.node(id) {
            Node::Dict(pairs) => self.named(pairs),
            _ => Vec::new(),
        };
        match self.node(id) {
            Node::Tuple(parts) => (parts.iter().take(2))
                .flat_map(|&part| attributes(part))
                .collect(),
            _ => attributes(id),
        }
    }

    /// The value of an entry.
    pub fn entry(&self, id: Id, name: &str) -> Option<Id> {
        let mut entries = self.entries(id).into_iter();
        entries.find_map(|(key, value)| (key == name).then_some(value))
    }

    fn named(&self, pairs: &[(Id, Id)]) -> Vec<(Cow<'_, str>, Id)> {
        pairs
            .iter()
            .filter_map(|&(key, value)| match self.node(key) {
                Node::Text(text) => Some((text.into(), value)),
                Node::Int(number) => Some((number.to_string().into(), value)),
                _ => None,
            })
            .collect()
    }
}

fn indexed(items: &[Id]) -> Vec<(Cow<'static, str>, Id)> {
    items
        .iter()
        .enumerate()
        .map(|(index, &item)| (index.to_string().into(), item))
        .collect()
}
