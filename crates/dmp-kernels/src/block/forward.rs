//! Forward.

use gemm::Parallelism;
use rayon::prelude::*;

use super::scratch::{give, take, with_scratch};
use super::{BlockShape, BlockWeights, Modulation};
use crate::attention::attention;
use crate::gelu::bias_gelu;
use crate::norm::{add_bias, gated_residual, norm_modulate};

/// What the backward pass needs of the forward pass, besides input and modulation.
#[derive(Debug, Clone, Default)]
pub struct Saved {
    /// Packed q, k, v, `[B, N, 3·D]`.
    pub qkv: Vec<f32>,
    /// Attention's output before projection, `[B, N, D]`.
    pub mixed: Vec<f32>,
    /// After the attention branch, x₁ `[B, N, D]`.
    pub middle: Vec<f32>,
    /// Before GELU, `[B, N, hidden]`.
    pub pre: Vec<f32>,
    /// Attention branch p `[B, N, D]`; empty unless the modulation's gradient is wanted.
    pub attention_branch: Vec<f32>,
    /// MLP branch f `[B, N, D]`; empty unless the modulation's gradient is wanted.
    pub mlp_branch: Vec<f32>,
}

impl Saved {
    /// Room for a block, its values unspecified; `branches` when the modulation's gradient will be wanted.
    pub fn new(shape: &BlockShape, branches: bool) -> Self {
        let (rows, d) = (shape.batch * shape.tokens, shape.width);
        let branch = if branches { rows * d } else { 0 };
        Self {
            qkv: take(rows * 3 * d),
            mixed: take(rows * d),
            middle: take(rows * d),
            pre: take(rows * shape.hidden),
            attention_branch: take(branch),
            mlp_branch: take(branch),
        }
    }
}

/// The next step's [`Saved::new`] takes the memory.
impl Drop for Saved {
    fn drop(&mut self) {
        give(
            [
                &mut self.qkv,
                &mut self.mixed,
                &mut self.middle,
                &mut self.pre,
                &mut self.attention_branch,
                &mut self.mlp_branch,
            ]
            .map(std::mem::take),
        );
    }
}

/// One group of images and where its results go.
struct Group<'a> {
    x: &'a [f32],
    modulation: &'a [f32],
    out: &'a mut [f32],
    kept: Option<Kept<'a>>,
}

/// A group's parts of [`Saved`].
struct Kept<'a> {
    qkv: &'a mut [f32],
    mixed: &'a mut [f32],
    middle: &'a mut [f32],
    pre: &'a mut [f32],
    branches: Option<(&'a mut [f32], &'a mut [f32])>,
}

/// `x` `[B, N, D]`, `modulation` `[B, 6·D]` → `out` `[B, N, D]`.
///
/// # Panics
/// When a slice is not as long as `shape` says: a bug of the caller, never of a user.
pub fn block_forward(
    shape: &BlockShape,
    weights: &BlockWeights<'_>,
    modulation: &[f32],
    x: &[f32],
    out: &mut [f32],
    saved: Option<&mut Saved>,
) {
    if shape.is_empty() {
        return;
    }
    shape.check(weights, modulation, &[x, out]);
    let workers = rayon::current_num_threads();
    let images = shape.group(workers);
    let threads = shape.inner_parallelism(workers);
    let (rows, d) = (images * shape.tokens, shape.width);
    let mut kept = saved.map(|saved| split_saved(shape, saved, rows));
    let groups: Vec<Group<'_>> = x
        .chunks(rows * d)
        .zip(modulation.chunks(images * 6 * d))
        .zip(out.chunks_mut(rows * d))
        .map(|((x, modulation), out)| Group {
            x,
            modulation,
            out,
            kept: kept.as_mut().and_then(Iterator::next),
        })
        .collect();
    if matches!(threads, Parallelism::None) {
        groups
            .into_par_iter()
            .for_each(|group| run(shape, weights, group, threads));
    } else {
        groups
            .into_iter()
            .for_each(|group| run(shape, weights, group, threads));
    }
}

fn split_saved<'a>(
    shape: &BlockShape,
    saved: &'a mut Saved,
    rows: usize,
) -> impl Iterator<Item = Kept<'a>> {
    let d = shape.width;
    let mut branches = saved
        .attention_branch
        .chunks_mut(rows * d)
        .zip(saved.mlp_branch.chunks_mut(rows * d));
    let qkv = saved.qkv.chunks_mut(rows * 3 * d);
    let rest = saved
        .mixed
        .chunks_mut(rows * d)
        .zip(saved.middle.chunks_mut(rows * d))
        .zip(saved.pre.chunks_mut(rows * shape.hidden));
    qkv.zip(rest)
        .map(move |(qkv, ((mixed, middle), pre))| Kept {
            qkv,
            mixed,
            middle,
            pre,
            branches: branches.next(),
        })
}

fn run(shape: &BlockShape, weights: &BlockWeights<'_>, group: Group<'_>, threads: Parallelism) {
    let (d, hidden) = (shape.width, shape.hidden);
    let rows = group.x.len() / d;
    let saving = group.kept.is_some();
    let with_branches = group
        .kept
        .as_ref()
        .is_some_and(|kept| kept.branches.is_some());
    let unless = |kept: bool, length: usize| if kept { 0 } else { length };
    let lengths = [
        rows * d,
        rows * hidden,
        shape.attention().scratch(),
        unless(saving, rows * 3 * d),
        unless(saving, rows * d),
        unless(saving, rows * d),
        unless(saving, rows * hidden),
        unless(with_branches, rows * d),
        unless(with_branches, rows * d),
    ];
    with_scratch(
        lengths,
        |[
            u,
            activated,
            scores,
            qkv,
            mixed,
            middle,
            pre,
            branch_1,
            branch_2,
        ]| {
            let kept = group.kept.unwrap_or(Kept {
                qkv,
                mixed,
                middle,
                pre,
                branches: None,
            });
            let (branch_1, branch_2) = kept.branches.unwrap_or((branch_1, branch_2));
            let pass = Pass {
                shape,
                weights,
                modulation: group.modulation,
                threads,
            };
            pass.attention_branch(
                group.x,
                u,
                kept.qkv,
                kept.mixed,
                scores,
                branch_1,
                kept.middle,
            );
            pass.mlp_branch(kept.middle, u, kept.pre, activated, branch_2, group.out);
        },
    );
}

/// What both branches share.
struct Pass<'a> {
    shape: &'a BlockShape,
    weights: &'a BlockWeights<'a>,
    modulation: &'a [f32],
    threads: Parallelism,
}

impl Pass<'_> {
    #[allow(clippy::too_many_arguments)]
    fn attention_branch(
        &self,
        x: &[f32],
        u: &mut [f32],
        qkv: &mut [f32],
        mixed: &mut [f32],
        scores: &mut [f32],
        branch: &mut [f32],
        out: &mut [f32],
    ) {
        let (d, image) = (self.shape.width, self.shape.tokens * self.shape.width);
        for ((x, u), m) in x
            .chunks(image)
            .zip(u.chunks_mut(image))
            .zip(self.modulations())
        {
            norm_modulate(x, m.shift_msa, m.scale_msa, u);
        }
        self.weights.qkv.forward(u, [d, 3 * d], qkv, self.threads);
        add_bias(qkv, self.weights.qkv_bias);
        for (qkv, mixed) in qkv.chunks(3 * image).zip(mixed.chunks_mut(image)) {
            attention(self.shape.attention(), qkv, mixed, scores);
        }
        self.weights
            .proj
            .forward(mixed, [d, d], branch, self.threads);
        for (((x, branch), out), m) in x
            .chunks(image)
            .zip(branch.chunks_mut(image))
            .zip(out.chunks_mut(image))
            .zip(self.modulations())
        {
            gated_residual(x, branch, self.weights.proj_bias, m.gate_msa, out);
        }
    }

    fn mlp_branch(
        &self,
        x: &[f32],
        u: &mut [f32],
        pre: &mut [f32],
        activated: &mut [f32],
        branch: &mut [f32],
        out: &mut [f32],
    ) {
        let (d, hidden, image) = (
            self.shape.width,
            self.shape.hidden,
            self.shape.tokens * self.shape.width,
        );
        for ((x, u), m) in x
            .chunks(image)
            .zip(u.chunks_mut(image))
            .zip(self.modulations())
        {
            norm_modulate(x, m.shift_mlp, m.scale_mlp, u);
        }
        self.weights.fc1.forward(u, [d, hidden], pre, self.threads);
        bias_gelu(pre, self.weights.fc1_bias, activated);
        self.weights
            .fc2
            .forward(activated, [hidden, d], branch, self.threads);
        for (((x, branch), out), m) in x
            .chunks(image)
            .zip(branch.chunks_mut(image))
            .zip(out.chunks_mut(image))
            .zip(self.modulations())
        {
            gated_residual(x, branch, self.weights.fc2_bias, m.gate_mlp, out);
        }
    }

    fn modulations(&self) -> impl Iterator<Item = Modulation<'_>> {
        let d = self.shape.width;
        self.modulation
            .chunks(6 * d)
            .map(move |row| Modulation::of(row, d))
    }
}
