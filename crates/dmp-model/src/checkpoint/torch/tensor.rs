//! Tensors in a pickle's tree, recognised by the names PyTorch uses, and their numbers.

use half::{bf16, f16};

use super::tree::{Id, Node, Tree};
use crate::checkpoint::HostTensor;

/// Where a tensor's numbers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Name of the storage in the archive.
    pub storage: String,
    kind: Kind,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
}

impl Kind {
    fn of(class: &str) -> Option<Self> {
        let name = class
            .strip_prefix("torch ")
            .or(class.strip_prefix("torch.storage "))?;
        Some(match name {
            "DoubleStorage" | "float64" => Self::F64,
            "FloatStorage" | "float32" => Self::F32,
            "HalfStorage" | "float16" => Self::F16,
            "BFloat16Storage" | "bfloat16" => Self::Bf16,
            "LongStorage" | "int64" => Self::I64,
            "IntStorage" | "int32" => Self::I32,
            "ShortStorage" | "int16" => Self::I16,
            "CharStorage" | "int8" => Self::I8,
            "ByteStorage" | "BoolStorage" | "uint8" | "bool" => Self::U8,
            _ => return None,
        })
    }

    /// Bytes of a number.
    fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 => 1,
        }
    }

    /// The number at `index`, in f32, as every tensor of a model is read.
    fn at(self, bytes: &[u8], index: usize) -> Option<f32> {
        fn part<const N: usize>(bytes: &[u8], index: usize) -> Option<[u8; N]> {
            let start = index.checked_mul(N)?;
            bytes.get(start..start.checked_add(N)?)?.try_into().ok()
        }
        Some(match self {
            Self::F64 => f64::from_le_bytes(part(bytes, index)?) as f32,
            Self::F32 => f32::from_le_bytes(part(bytes, index)?),
            Self::F16 => f16::from_le_bytes(part(bytes, index)?).to_f32(),
            Self::Bf16 => bf16::from_le_bytes(part(bytes, index)?).to_f32(),
            Self::I64 => i64::from_le_bytes(part(bytes, index)?) as f32,
            Self::I32 => i32::from_le_bytes(part(bytes, index)?) as f32,
            Self::I16 => f32::from(i16::from_le_bytes(part(bytes, index)?)),
            Self::I8 => f32::from(i8::from_le_bytes(part(bytes, index)?)),
            Self::U8 => f32::from(u8::from_le_bytes(part(bytes, index)?)),
        })
    }
}

/// Bytes of a number in a storage of this class.
pub fn width(class: &str) -> Option<usize> {
    Kind::of(class).map(Kind::size)
}

/// The tensor that a node describes, if it does: itself, as the data of a parameter, or of a class of the user's.
///
/// # Errors
/// One of a kind that is not read here: to leave it out would make another model of the file.
pub fn layout(tree: &Tree, id: Id) -> Option<Result<Layout, String>> {
    let (maker, arguments) = call(tree, id)?;
    let builds = |maker: &str| {
        maker.starts_with("torch._utils _rebuild") || maker.starts_with("torch._tensor _rebuild")
    };
    if !builds(maker) {
        return None;
    }
    let found = match maker {
        // Once: a parameter of a parameter of … is nothing that PyTorch writes.
        "torch._utils _rebuild_parameter" | "torch._utils _rebuild_parameter_with_state" => {
            let data = arguments.first();
            data.and_then(|&data| call(tree, data))
        }
        // (function, class, its arguments, …)
        "torch._tensor _rebuild_from_type_v2" => match arguments {
            &[function, _, inner, ..] => tree.global(function).zip(tree.sequence(inner)),
            _ => None,
        },
        _ => Some((maker, arguments)),
    };
    let layout = found.and_then(|call| plain(tree, call));
    Some(layout.ok_or_else(|| {
        format!(
            "is made by {}, of numbers or in a way that is not read here; save it as a plain tensor of floats",
            found.map_or(maker, |(maker, _)| maker).replace(' ', ".")
        )
    }))
}

/// Name and arguments of the function whose result a node is.
fn call(tree: &Tree, id: Id) -> Option<(&str, &[Id])> {
    match tree.node(id) {
        Node::Made(made) => Some((tree.global(made.maker)?, tree.sequence(made.arguments)?)),
        _ => None,
    }
}

fn plain(tree: &Tree, (maker, arguments): (&str, &[Id])) -> Option<Layout> {
    match maker {
        "torch._utils _rebuild_tensor_v2" | "torch._utils _rebuild_tensor" => {
            let &[storage, offset, shape, strides, ..] = arguments else {
                return None;
            };
            let Node::Outside(name) = *tree.node(storage) else {
                return None;
            };
            // ('storage', class, key, location, count, …)
            let &[_, class, key, ..] = tree.sequence(name)? else {
                return None;
            };
            let key = match tree.node(key) {
                Node::Text(key) => key.clone(),
                Node::Int(key) => key.to_string(),
                _ => return None,
            };
            Some(Layout {
                storage: key,
                kind: Kind::of(tree.global(class)?)?,
                offset: usize::try_from(tree.integer(offset)?).ok()?,
                shape: sizes(tree, shape)?,
                strides: sizes(tree, strides)?,
            })
        }
        _ => None,
    }
}

fn sizes(tree: &Tree, id: Id) -> Option<Vec<usize>> {
    tree.sequence(id)?
        .iter()
        .map(|&size| usize::try_from(tree.integer(size)?).ok())
        .collect()
}

impl Layout {
    /// Whether the numbers lie one after the other, in order.
    fn is_dense(&self) -> bool {
        let mut dense = 1usize;
        self.shape
            .iter()
            .zip(&self.strides)
            .rev()
            .all(|(&size, &stride)| {
                let fits = size == 1 || stride == dense;
                dense = dense.saturating_mul(size);
                fits
            })
    }

    /// How many numbers it has, of a storage of these bytes.
    pub fn count(&self, bytes: &[u8]) -> Result<usize, String> {
        let count = self
            .shape
            .iter()
            .try_fold(1usize, |count, &size| count.checked_mul(size))
            // A stride of 0 can make a tensor larger than its storage; no weight of a model is.
            .filter(|&count| count <= bytes.len() / self.kind.size());
        count
            .filter(|_| self.strides.len() == self.shape.len())
            .ok_or_else(|| self.damaged(bytes))
    }

    fn damaged(&self, bytes: &[u8]) -> String {
        format!(
            "its shape {:?} does not fit its storage of {} bytes; the file is damaged",
            self.shape,
            bytes.len()
        )
    }

    /// The tensor, from its storage's bytes.
    pub fn read(&self, bytes: &[u8]) -> Result<HostTensor, String> {
        let damaged = || self.damaged(bytes);
        let count = self.count(bytes)?;
        if self.is_dense() {
            let values = (0..count)
                .map(|i| self.kind.at(bytes, self.offset.checked_add(i)?))
                .collect::<Option<_>>()
                .ok_or_else(damaged)?;
            return Ok(HostTensor {
                shape: self.shape.clone(),
                values,
            });
        }
        let mut values = Vec::with_capacity(count);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..count {
            let place = index
                .iter()
                .zip(&self.strides)
                .try_fold(self.offset, |sum, (&i, &stride)| {
                    sum.checked_add(usize::checked_mul(i, stride)?)
                })
                .ok_or_else(damaged)?;
            values.push(self.kind.at(bytes, place).ok_or_else(damaged)?);
            for (i, &size) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < size {
                    break;
                }
                *i = 0;
            }
        }
        Ok(HostTensor {
            shape: self.shape.clone(),
            values,
        })
    }
}
