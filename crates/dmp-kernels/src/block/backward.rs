//! Backward, by hand.

use gemm::Parallelism;
use rayon::prelude::*;

use super::forward::ForwardPass;
use super::linear::add_weight;
use super::recompute::{anew, recompute};
use super::saved::{Parts, Saved};
use super::scratch::with_scratch;
use super::{BlockShape, BlockWeights, Gradients, Modulation, Wanted, WeightGradients};
use crate::attention::attention_backward;
use crate::gelu::{gelu_backward, gelu_with_backward};
use crate::norm::{
    add_column_products, gate_rows, modulation_backward, norm_modulate, norm_modulate_backward,
};

/// Given `dout` `[B, N, D]`, the gradients of what [`super::block_forward`] took.
///
/// Sums over images are taken in the same order for the same number of workers.
///
/// # Panics
/// When a slice is not as long as `shape` says: a bug of the caller, never of a user.
pub fn block_backward(
    shape: &BlockShape,
    weights: &BlockWeights<'_>,
    modulation: &[f32],
    x: &[f32],
    saved: &Saved,
    dout: &[f32],
    wanted: Wanted,
) -> Gradients {
    let (d, image) = (shape.width, shape.tokens * shape.width);
    let mut gradients = Gradients {
        // What flows past both branches; they add theirs.
        x: dout.to_vec(),
        modulation: vec![
            0.0;
            if wanted.modulation {
                shape.batch * 6 * d
            } else {
                0
            }
        ],
        weights: None,
    };
    if shape.is_empty() {
        gradients.weights = wanted.weights.then(|| WeightGradients::zeros(shape));
        return gradients;
    }
    shape.check(weights, modulation, &[x, dout]);
    saved.check(shape, wanted.modulation);
    let workers = rayon::current_num_threads();
    let threads = shape.inner_parallelism(workers);
    let pass = Pass {
        shape,
        weights,
        modulation,
        x,
        saved,
        dout,
        threads,
    };
    // With weight gradients one share a worker, each summing its own; without, shares as small as a group.
    let share = match (threads, wanted.weights) {
        (Parallelism::None, true) => shape.batch.div_ceil(workers),
        (Parallelism::None, false) => shape.group(workers),
        _ => shape.batch,
    };
    let modulation_rows = if wanted.modulation { share * 6 * d } else { 1 };
    let mut dmodulations = gradients.modulation.chunks_mut(modulation_rows);
    let shares: Vec<Share<'_>> = gradients
        .x
        .chunks_mut(share * image)
        .enumerate()
        .map(|(i, dx)| Share {
            first: i * share,
            dx,
            dmodulation: dmodulations.next(),
        })
        .collect();
    let work = |share: Share<'_>| pass.share(share, wanted.weights);
    let partial: Vec<Option<WeightGradients>> = if matches!(threads, Parallelism::None) {
        shares.into_par_iter().map(work).collect()
    } else {
        shares.into_iter().map(work).collect()
    };
    gradients.weights = partial.into_iter().flatten().reduce(|mut sum, part| {
        sum.add(&part);
        sum
    });
    gradients
}

/// Images from `first` on, and where their gradients go.
struct Share<'a> {
    first: usize,
    dx: &'a mut [f32],
    dmodulation: Option<&'a mut [f32]>,
}

struct Pass<'a> {
    shape: &'a BlockShape,
    weights: &'a BlockWeights<'a>,
    modulation: &'a [f32],
    x: &'a [f32],
    saved: &'a Saved,
    dout: &'a [f32],
    threads: Parallelism,
}

/// One group: its images, and its slices of everything.
struct Group<'a> {
    first: usize,
    rows: usize,
    dx: &'a mut [f32],
    dmodulation: Option<&'a mut [f32]>,
}

impl Pass<'_> {
    fn share(&self, share: Share<'_>, with_weights: bool) -> Option<WeightGradients> {
        let (tokens, d) = (self.shape.tokens, self.shape.width);
        let images = self.shape.group(rayon::current_num_threads());
        let mut sums = with_weights.then(|| WeightGradients::zeros(self.shape));
        let mut dmodulation = share
            .dmodulation
            .map(|rows| rows.chunks_mut(images * 6 * d));
        for (i, dx) in share.dx.chunks_mut(images * tokens * d).enumerate() {
            let dmodulation = dmodulation.as_mut().and_then(Iterator::next);
            let group = Group {
                first: share.first + i * images,
                rows: dx.len() / d,
                dx,
                dmodulation,
            };
            self.group(group, sums.as_mut());
        }
        sums
    }

    fn group(&self, mut group: Group<'_>, mut sums: Option<&mut WeightGradients>) {
        let (d, hidden, rows) = (self.shape.width, self.shape.hidden, group.rows);
        let kept = self
            .saved
            .rows(self.shape, group.first * self.shape.tokens, rows);
        let branches = group.dmodulation.is_some();
        let [qkv, mixed, middle, pre, branch_1, branch_2] =
            anew(self.shape, &kept, branches, rows).into_array();
        let attention = self.shape.attention(self.weights);
        let images = rows / self.shape.tokens;
        let forward = ForwardPass {
            shape: self.shape,
            weights: self.weights,
            modulation: &self.modulation[group.first * 6 * d..][..images * 6 * d],
            threads: self.threads,
        };
        let lengths = [
            rows * d,
            rows * d,
            rows * hidden,
            rows * hidden,
            rows * 3 * d,
            attention.backward_scratch().max(attention.scratch()),
            qkv,
            mixed,
            middle,
            pre,
            branch_1,
            branch_2,
        ];
        with_scratch(
            lengths,
            |[branch, u, wide, activated, dqkv, scores, rest @ ..]| {
                let mut again = Parts::from_array(rest);
                let x = self.rows(self.x, &group, d);
                recompute(&forward, x, kept, &mut again, [u, activated, scores]);
                let parts = kept.or(again.map(|part| &*part));
                let mlp = [&mut *branch, &mut *u, wide, activated];
                self.mlp_branch(&mut group, &parts, sums.as_deref_mut(), mlp);
                self.attention_branch(&mut group, &parts, sums, [branch, u, dqkv, scores]);
            },
        );
    }

    /// From `dout`: leaves the gradient of x₁ in `group.dx`.
    fn mlp_branch(
        &self,
        group: &mut Group<'_>,
        parts: &Parts<&[f32]>,
        sums: Option<&mut WeightGradients>,
        [branch, u, da, activated]: [&mut [f32]; 4],
    ) {
        let (d, hidden) = (self.shape.width, self.shape.hidden);
        let dout = self.rows(self.dout, group, d);
        let Parts { middle, pre, .. } = *parts;
        self.each_image(group, |i, m| {
            gate_rows(self.image(dout, i), m.gate_mlp, self.image_mut(branch, i))
        });
        if let Some(dmodulation) = &mut group.dmodulation {
            self.add_gate_gradient(dmodulation, 5, dout, parts.mlp_branch);
        }
        let threads = self.threads;
        self.weights.fc2.backward(branch, [hidden, d], da, threads);
        match sums {
            Some(_) => gelu_with_backward(pre, activated, da),
            None => gelu_backward(pre, da),
        }
        self.weights.fc1.backward(da, [d, hidden], u, threads);
        self.through_norm(group, middle, u, 3, |m| (m.shift_mlp, m.scale_mlp));
        if let Some(sums) = sums {
            let (weight, bias) = (&mut sums.fc2, &mut sums.fc2_bias);
            add_weight(activated, hidden, branch, d, weight, bias, self.threads);
            self.each_image(group, |i, m| {
                norm_modulate(
                    self.image(middle, i),
                    m.shift_mlp,
                    m.scale_mlp,
                    self.image_mut(u, i),
                )
            });
            let (weight, bias) = (&mut sums.fc1, &mut sums.fc1_bias);
            add_weight(u, d, da, hidden, weight, bias, self.threads);
        }
    }

    /// From the gradient of x₁ in `group.dx`: leaves that of x there.
    fn attention_branch(
        &self,
        group: &mut Group<'_>,
        parts: &Parts<&[f32]>,
        sums: Option<&mut WeightGradients>,
        [branch, u, dqkv, scores]: [&mut [f32]; 4],
    ) {
        let d = self.shape.width;
        let x = self.rows(self.x, group, d);
        let Parts { qkv, mixed, .. } = *parts;
        self.each_image(group, |i, m| {
            gate_rows(
                self.image(group.dx, i),
                m.gate_msa,
                self.image_mut(branch, i),
            )
        });
        if let Some(dmodulation) = &mut group.dmodulation {
            self.add_gate_gradient(dmodulation, 2, group.dx, parts.attention_branch);
        }
        let threads = self.threads;
        self.weights.proj.backward(branch, [d, d], u, threads);
        let image = self.shape.tokens * d;
        for ((qkv, dmixed), dqkv) in qkv
            .chunks(3 * image)
            .zip(u.chunks(image))
            .zip(dqkv.chunks_mut(3 * image))
        {
            attention_backward(
                self.shape.attention(self.weights),
                qkv,
                dmixed,
                dqkv,
                scores,
            );
        }
        self.weights.qkv.backward(dqkv, [d, 3 * d], u, threads);
        self.through_norm(group, x, u, 0, |m| (m.shift_msa, m.scale_msa));
        if let Some(sums) = sums {
            let (weight, bias) = (&mut sums.proj, &mut sums.proj_bias);
            add_weight(mixed, d, branch, d, weight, bias, self.threads);
            self.each_image(group, |i, m| {
                norm_modulate(
                    self.image(x, i),
                    m.shift_msa,
                    m.scale_msa,
                    self.image_mut(u, i),
                )
            });
            let (weight, bias) = (&mut sums.qkv, &mut sums.qkv_bias);
            add_weight(u, d, dqkv, 3 * d, weight, bias, self.threads);
        }
    }

    /// Adds to `group.dx` what reaches the norm's input, and to the modulation's shift and scale (at `slot`
    /// and `slot + 1` of the six).
    fn through_norm<'m>(
        &'m self,
        group: &mut Group<'_>,
        input: &[f32],
        du: &[f32],
        slot: usize,
        part: impl Fn(Modulation<'m>) -> (&'m [f32], &'m [f32]),
    ) {
        let (d, image) = (self.shape.width, self.shape.tokens * self.shape.width);
        for (i, dx) in group.dx.chunks_mut(image).enumerate() {
            let (_, scale) = part(self.modulation_of(group.first + i));
            norm_modulate_backward(self.image(input, i), scale, self.image(du, i), dx);
        }
        if let Some(dmodulation) = &mut group.dmodulation {
            for (i, row) in dmodulation.chunks_mut(6 * d).enumerate() {
                let (shift, scale) = row[slot * d..(slot + 2) * d].split_at_mut(d);
                modulation_backward(self.image(input, i), self.image(du, i), shift, scale);
            }
        }
    }

    /// `dmodulation[slot] += Σ_tokens gradient ⊙ branch`, image by image.
    fn add_gate_gradient(
        &self,
        dmodulation: &mut [f32],
        slot: usize,
        gradient: &[f32],
        branch: &[f32],
    ) {
        let d = self.shape.width;
        for (i, row) in dmodulation.chunks_mut(6 * d).enumerate() {
            add_column_products(
                self.image(gradient, i),
                self.image(branch, i),
                &mut row[slot * d..(slot + 1) * d],
            );
        }
    }

    fn each_image(&self, group: &Group<'_>, mut work: impl FnMut(usize, Modulation<'_>)) {
        (0..group.rows / self.shape.tokens)
            .for_each(|i| work(i, self.modulation_of(group.first + i)));
    }

    fn modulation_of(&self, image: usize) -> Modulation<'_> {
        let d = self.shape.width;
        Modulation::of(&self.modulation[image * 6 * d..(image + 1) * 6 * d], d)
    }

    /// A group's rows of a tensor whose rows are `width` wide.
    fn rows<'b>(&self, all: &'b [f32], group: &Group<'_>, width: usize) -> &'b [f32] {
        &all[group.first * self.shape.tokens * width..][..group.rows * width]
    }

    /// Image `i` of a group's rows of width D.
    fn image<'b>(&self, rows: &'b [f32], i: usize) -> &'b [f32] {
        let image = self.shape.tokens * self.shape.width;
        &rows[i * image..(i + 1) * image]
    }

    fn image_mut<'b>(&self, rows: &'b mut [f32], i: usize) -> &'b mut [f32] {
        let image = self.shape.tokens * self.shape.width;
        &mut rows[i * image..(i + 1) * image]
    }
}
