//! What prompts do to the tokens that enter a block.

use burn::tensor::{Int, Tensor};

use super::config::{PatchConfig, Position};

/// Prompts as they enter one block, weighed by their masks. B is the number of images, or 1 where they are the same for all.
#[derive(Debug, Clone)]
pub struct Contribution {
    /// Extra tokens before the image's, `[B, K, D]`.
    pub extra: Option<Tensor<3>>,
    /// What is added to the tokens of the prompts' grid, `[B, T, D]`.
    pub added: Option<Tensor<3>>,
}

impl Contribution {
    /// Of prompts `[N, D]` (of a mixture `[N, T·D]`) under masks `[B, N]`; without masks every prompt is used whole.
    pub(super) fn new(config: &PatchConfig, prompts: Tensor<2>, mask: Option<Tensor<2>>) -> Self {
        match config.position {
            Position::Add => Self {
                extra: None,
                added: Some(masked(prompts, mask)),
            },
            Position::Mix => {
                let mixed = match mask {
                    Some(mask) => mask.matmul(prompts),
                    None => prompts.sum_dim(0),
                };
                let (images, tokens) = (mixed.dims()[0], config.prompt_tokens);
                Self {
                    extra: None,
                    added: Some(mixed.reshape([images, tokens, config.hidden_size])),
                }
            }
            Position::Prepend => Self {
                extra: Some(masked(prompts, mask)),
                added: None,
            },
            Position::Both => Self::cut(masked(prompts, mask), config.prepended()),
        }
    }

    /// Of rows `[B, K + T, D]`: the first K of them as extra tokens.
    pub(super) fn cut(rows: Tensor<3>, extra: usize) -> Self {
        let count = rows.dims()[1];
        let part = |from, to| (to > from).then(|| rows.clone().narrow(1, from, to - from));
        Self {
            extra: part(0, extra),
            added: part(extra, count),
        }
    }

    /// The rows `[B, K + T, D]` that [`Self::cut`] takes.
    pub(super) fn rows(self) -> Option<Tensor<3>> {
        match (self.extra, self.added) {
            (Some(extra), Some(added)) => Some(Tensor::cat(vec![extra, added], 1)),
            (extra, added) => extra.or(added),
        }
    }

    /// That of the images `indices`.
    pub(super) fn select(&self, indices: &Tensor<1, Int>) -> Self {
        let of = |part: &Option<Tensor<3>>| {
            let part = part.clone();
            part.map(|part| part.select(0, indices.clone()))
        };
        Self {
            extra: of(&self.extra),
            added: of(&self.added),
        }
    }

    /// The tokens `[B, N, D]` that enter block `block` with it. What is added is brought from its grid to theirs by `spread`,
    /// `[tokens, T]`, if it is another.
    pub(super) fn apply(
        self,
        tokens: Tensor<3>,
        block: usize,
        spread: Option<&Tensor<2>>,
    ) -> Tensor<3> {
        let add = |image: Tensor<3>| match (self.added, spread) {
            (Some(added), Some(spread)) => image + spread.clone().unsqueeze::<3>().matmul(added),
            (Some(added), None) => image + added,
            (None, _) => image,
        };
        let Some(extra) = self.extra else {
            return add(tokens);
        };
        let count = extra.dims()[1];
        // Those of the block before are overwritten.
        let image = add(match block {
            0 => tokens,
            _ => without_first(tokens, count),
        });
        let [batch, _, width] = image.dims();
        Tensor::cat(vec![extra.expand([batch, count, width]), image], 1)
    }
}

/// Tokens `[B, N, D]` without the first `count`.
pub(super) fn without_first(tokens: Tensor<3>, count: usize) -> Tensor<3> {
    let length = tokens.dims()[1];
    tokens.narrow(1, count, length - count)
}

/// `m ⊙ P`: mask `[B, N]` and prompts `[N, D]` → `[B, N, D]`, or the prompts alone `[1, N, D]`.
fn masked(prompts: Tensor<2>, mask: Option<Tensor<2>>) -> Tensor<3> {
    let prompts = prompts.unsqueeze::<3>();
    match mask {
        Some(mask) => mask.unsqueeze_dim::<3>(2) * prompts,
        None => prompts,
    }
}
