//! What a forward pass leaves for the backward pass, and what the backward pass computes anew.

use super::BlockShape;
use super::scratch::{give, take};

/// How much is left between the passes. Gradients are the same to the bit where products do not depend on how many rows
/// there are: with frozen weights, and on one thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Checkpointing {
    /// All that is needed besides the input: 9·D values a token with the usual MLP.
    #[default]
    None,
    /// All but the MLP's hidden values: 5·D a token; `fc1` is computed once more, and for the modulation's gradient `fc2`.
    Mlp,
    /// The input alone; attention is computed once more too.
    Block,
}

/// What the backward pass needs of the forward pass, besides input and modulation. Parts that [`Checkpointing`] does not
/// keep are empty.
#[derive(Debug, Clone)]
pub struct Saved {
    shape: BlockShape,
    branches: bool,
    parts: Parts<Vec<f32>>,
}

impl Saved {
    /// Room for a block, its values unspecified; `branches` when the modulation's gradient will be wanted.
    pub fn new(shape: &BlockShape, checkpointing: Checkpointing, branches: bool) -> Self {
        let attention = checkpointing != Checkpointing::Block;
        let mlp = checkpointing == Checkpointing::None;
        let kept = Parts {
            qkv: attention,
            mixed: attention,
            middle: attention,
            pre: mlp,
            attention_branch: attention && branches,
            mlp_branch: mlp && branches,
        };
        let lengths = Parts::lengths(shape, shape.batch * shape.tokens);
        let parts = kept.zip(lengths).map(|(kept, length)| match kept {
            true => take(length),
            false => Vec::new(),
        });
        Self {
            shape: *shape,
            branches,
            parts,
        }
    }

    /// # Panics
    /// When it is of another block, or lacks what the modulation's gradient needs: a bug of the caller, never of a user.
    pub(super) fn check(&self, shape: &BlockShape, branches: bool) {
        assert_eq!(self.shape, *shape, "saved of another shape");
        assert!(
            self.branches || !branches,
            "saved without the branches that the modulation's gradient needs"
        );
    }

    /// Each group's parts, of `rows` rows, in turn.
    pub(super) fn groups(
        &mut self,
        shape: &BlockShape,
        rows: usize,
    ) -> impl Iterator<Item = Parts<&mut [f32]>> {
        let mut chunks = self
            .parts
            .as_mut()
            .zip(Parts::lengths(shape, rows))
            .map(|(part, length)| part.chunks_mut(length));
        std::iter::repeat_with(move || {
            chunks
                .as_mut()
                .map(|chunks| chunks.next().unwrap_or_default())
        })
    }

    /// The parts of `rows` rows from `first` on.
    pub(super) fn rows(&self, shape: &BlockShape, first: usize, rows: usize) -> Parts<&[f32]> {
        self.parts
            .as_ref()
            .zip(Parts::lengths(shape, 1))
            .map(|(part, width)| {
                part.get(first * width..(first + rows) * width)
                    .unwrap_or_default()
            })
    }
}

/// The next step's [`Saved::new`] takes the memory.
impl Drop for Saved {
    fn drop(&mut self) {
        give(self.parts.as_mut().map(std::mem::take).into_array());
    }
}

/// Something for each tensor that the backward pass reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<T> {
    /// Packed q, k, v, `[B, N, 3·D]`.
    pub(super) qkv: T,
    /// Attention's output before projection, `[B, N, D]`.
    pub(super) mixed: T,
    /// After the attention branch, x₁ `[B, N, D]`.
    pub(super) middle: T,
    /// Before GELU, `[B, N, hidden]`.
    pub(super) pre: T,
    /// Attention branch p `[B, N, D]`; the modulation's gradient needs it, and nothing else.
    pub(super) attention_branch: T,
    /// MLP branch f `[B, N, D]`; likewise.
    pub(super) mlp_branch: T,
}

impl Parts<usize> {
    /// Values in `rows` rows of each.
    pub(super) fn lengths(shape: &BlockShape, rows: usize) -> Self {
        let row = rows * shape.width;
        Self {
            qkv: 3 * row,
            mixed: row,
            middle: row,
            pre: rows * shape.hidden,
            attention_branch: row,
            mlp_branch: row,
        }
    }
}

impl<T: AsRef<[f32]> + Default> Parts<T> {
    /// Every part empty.
    pub(super) fn nothing() -> Self {
        Self::from_array(Default::default())
    }

    /// Each part, or where it is empty the other's.
    pub(super) fn or(self, other: Self) -> Self {
        self.zip(other)
            .map(|(part, other)| match part.as_ref().is_empty() {
                true => other,
                false => part,
            })
    }

    /// Lengths of what is empty here and has so many rows.
    pub(super) fn missing(&self, shape: &BlockShape, rows: usize) -> Parts<usize> {
        self.as_ref()
            .zip(Parts::lengths(shape, rows))
            .map(|(part, length)| match part.as_ref().is_empty() {
                true => length,
                false => 0,
            })
    }
}

impl<T> Parts<T> {
    pub(super) fn from_array(parts: [T; 6]) -> Self {
        let [qkv, mixed, middle, pre, attention_branch, mlp_branch] = parts;
        Self {
            qkv,
            mixed,
            middle,
            pre,
            attention_branch,
            mlp_branch,
        }
    }

    pub(super) fn into_array(self) -> [T; 6] {
        [
            self.qkv,
            self.mixed,
            self.middle,
            self.pre,
            self.attention_branch,
            self.mlp_branch,
        ]
    }

    pub(super) fn map<U>(self, f: impl FnMut(T) -> U) -> Parts<U> {
        Parts::from_array(self.into_array().map(f))
    }

    pub(super) fn zip<U>(self, other: Parts<U>) -> Parts<(T, U)> {
        let mut others = other.into_array().into_iter();
        self.map(|part| match others.next() {
            Some(other) => (part, other),
            None => unreachable!("as many parts as parts"),
        })
    }

    pub(super) fn as_ref(&self) -> Parts<&T> {
        Parts {
            qkv: &self.qkv,
            mixed: &self.mixed,
            middle: &self.middle,
            pre: &self.pre,
            attention_branch: &self.attention_branch,
            mlp_branch: &self.mlp_branch,
        }
    }

    pub(super) fn as_mut(&mut self) -> Parts<&mut T> {
        Parts {
            qkv: &mut self.qkv,
            mixed: &mut self.mixed,
            middle: &mut self.middle,
            pre: &mut self.pre,
            attention_branch: &mut self.attention_branch,
            mlp_branch: &mut self.mlp_branch,
        }
    }
}
