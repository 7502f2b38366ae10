//! Forward.

use gemm::Parallelism;
use rayon::prelude::*;

use super::saved::{Parts, Saved};
use super::scratch::with_scratch;
use super::{BlockShape, BlockWeights, Modulation};
use crate::attention::attention;
use crate::gelu::bias_gelu;
use crate::norm::{add_bias, gated_residual, norm_modulate};

/// One group of images and where its results go.
struct Group<'a> {
    x: &'a [f32],
    modulation: &'a [f32],
    out: &'a mut [f32],
    kept: Parts<&'a mut [f32]>,
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
    if let Some(saved) = &saved {
        saved.check(shape, false);
    }
    let workers = rayon::current_num_threads();
    let images = shape.group(workers);
    let threads = shape.inner_parallelism(workers);
    let (rows, d) = (images * shape.tokens, shape.width);
    let mut kept = saved.map(|saved| saved.groups(shape, rows));
    let groups: Vec<Group<'_>> = x
        .chunks(rows * d)
        .zip(modulation.chunks(images * 6 * d))
        .zip(out.chunks_mut(rows * d))
        .map(|((x, modulation), out)| Group {
            x,
            modulation,
            out,
            kept: kept
                .as_mut()
                .and_then(Iterator::next)
                .unwrap_or_else(Parts::nothing),
        })
        .collect();
    let run = |group| run(shape, weights, group, threads);
    if matches!(threads, Parallelism::None) {
        groups.into_par_iter().for_each(run);
    } else {
        groups.into_iter().for_each(run);
    }
}

fn run(shape: &BlockShape, weights: &BlockWeights<'_>, group: Group<'_>, threads: Parallelism) {
    let rows = group.x.len() / shape.width;
    let [qkv, mixed, middle, pre, branch_1, branch_2] =
        group.kept.missing(shape, rows).into_array();
    let lengths = [
        rows * shape.width,
        rows * shape.hidden,
        shape.attention(weights).scratch(),
        qkv,
        mixed,
        middle,
        pre,
        branch_1,
        branch_2,
    ];
    with_scratch(lengths, |[u, activated, scores, rest @ ..]| {
        let mut parts = group.kept.or(Parts::from_array(rest));
        let pass = ForwardPass {
            shape,
            weights,
            modulation: group.modulation,
            threads,
        };
        pass.attention_branch(group.x, u, scores, &mut parts);
        pass.hidden(parts.middle, u, parts.pre);
        bias_gelu(parts.pre, weights.fc1_bias, activated);
        pass.project_hidden(activated, parts.mlp_branch);
        pass.residual(
            parts.middle,
            parts.mlp_branch,
            weights.fc2_bias,
            |m| m.gate_mlp,
            group.out,
        );
    });
}

/// The parts of the forward pass of one group, for whoever makes them first or anew.
pub(super) struct ForwardPass<'a> {
    pub(super) shape: &'a BlockShape,
    pub(super) weights: &'a BlockWeights<'a>,
    /// The group's rows.
    pub(super) modulation: &'a [f32],
    pub(super) threads: Parallelism,
}

impl<'a> ForwardPass<'a> {
    /// Up to x₁: fills all parts but the MLP's.
    pub(super) fn attention_branch(
        &self,
        x: &[f32],
        u: &mut [f32],
        scores: &mut [f32],
        parts: &mut Parts<&mut [f32]>,
    ) {
        let (d, image) = (self.shape.width, self.image());
        let Parts { qkv, mixed, .. } = parts;
        self.normed(x, |m| (m.shift_msa, m.scale_msa), u);
        self.weights.qkv.forward(u, [d, 3 * d], qkv, self.threads);
        add_bias(qkv, self.weights.qkv_bias);
        for (qkv, mixed) in qkv.chunks(3 * image).zip(mixed.chunks_mut(image)) {
            attention(self.shape.attention(self.weights), qkv, mixed, scores);
        }
        let branch = &mut *parts.attention_branch;
        self.weights
            .proj
            .forward(mixed, [d, d], branch, self.threads);
        let bias = self.weights.proj_bias;
        self.residual(x, branch, bias, |m| m.gate_msa, parts.middle);
    }

    /// From x₁ to what `fc1` makes of it, without its bias.
    pub(super) fn hidden(&self, middle: &[f32], u: &mut [f32], pre: &mut [f32]) {
        let (d, hidden) = (self.shape.width, self.shape.hidden);
        self.normed(middle, |m| (m.shift_mlp, m.scale_mlp), u);
        self.weights.fc1.forward(u, [d, hidden], pre, self.threads);
    }

    /// Through `fc2`, without its bias.
    pub(super) fn project_hidden(&self, activated: &[f32], branch: &mut [f32]) {
        let shape = [self.shape.hidden, self.shape.width];
        self.weights
            .fc2
            .forward(activated, shape, branch, self.threads);
    }

    fn normed(
        &self,
        x: &[f32],
        part: impl Fn(Modulation<'a>) -> (&'a [f32], &'a [f32]),
        u: &mut [f32],
    ) {
        let image = self.image();
        for ((x, u), m) in x
            .chunks(image)
            .zip(u.chunks_mut(image))
            .zip(self.modulations())
        {
            let (shift, scale) = part(m);
            norm_modulate(x, shift, scale, u);
        }
    }

    /// Adds the bias to the branch, and the gated branch to `x`.
    fn residual(
        &self,
        x: &[f32],
        branch: &mut [f32],
        bias: &[f32],
        gate: impl Fn(Modulation<'a>) -> &'a [f32],
        out: &mut [f32],
    ) {
        let image = self.image();
        for (((x, branch), out), m) in x
            .chunks(image)
            .zip(branch.chunks_mut(image))
            .zip(out.chunks_mut(image))
            .zip(self.modulations())
        {
            gated_residual(x, branch, bias, gate(m), out);
        }
    }

    /// Values of an image's tokens.
    fn image(&self) -> usize {
        self.shape.tokens * self.shape.width
    }

    fn modulations(&self) -> impl Iterator<Item = Modulation<'a>> {
        let d = self.shape.width;
        self.modulation
            .chunks(6 * d)
            .map(move |row| Modulation::of(row, d))
    }
}
