//! What a training step takes, before it is taken.

use dmp_model::dit::DitConfig;
use serde::Serialize;

use crate::compute::CheckpointingName;

/// What is trained on which backbone, how.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// The backbone.
    pub sizes: &'a DitConfig,
    /// Tokens put before an image's own.
    pub prepended: usize,
    /// Parameters stored beside the backbone.
    pub added: usize,
    /// Parameters trained.
    pub trained: usize,
    /// Whether the backbone's weights get gradients.
    pub weights_learn: bool,
    /// Weights that a step computes anew, with their gradients.
    pub joined: usize,
    /// Images a step.
    pub batch: usize,
    /// Pieces they are computed in.
    pub accumulate: usize,
    /// What the backward pass computes anew.
    pub checkpointing: CheckpointingName,
}

/// Sizes of the model and of a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Parameters of the backbone.
    pub backbone_parameters: usize,
    /// Parameters stored beside it.
    pub added_parameters: usize,
    /// Of the backbone's, in percent.
    pub added_percent: f64,
    /// Parameters trained.
    pub trained_parameters: usize,
    /// Tokens of an image.
    pub tokens: usize,
    /// Bytes that a step takes at the least.
    pub memory_bytes: u64,
    /// Multiplications and additions of a step's matrix products in the blocks, each counted as one.
    pub step_flops: u64,
}

impl Work<'_> {
    /// Bytes of the weights, of what blocks keep for the backward pass, of each trained parameter's gradient and two moments,
    /// and of weights that are joined and their gradients. From below: conditioning and what is made on the way are left out.
    pub fn memory(&self) -> u128 {
        // What a block keeps of a token, in widths of it; see `Checkpointing`.
        let kept = match self.checkpointing {
            CheckpointingName::None => 10,
            CheckpointingName::Mlp => 6,
            CheckpointingName::Block => 1,
        };
        let images = self.batch.div_ceil(self.accumulate) as u128;
        let token = (self.sizes.depth * self.sizes.hidden_size * kept) as u128;
        let own = (self.added + 2 * self.joined) as u128 + 3 * self.trained as u128;
        let activations = images.saturating_mul(self.tokens() as u128 * token);
        activations.saturating_add(own).saturating_mul(4)
    }

    fn tokens(&self) -> usize {
        self.sizes.num_tokens() + self.prepended
    }

    /// Of tokens N and width D a block has 24·N·D² in its linear maps (12·N·D² multiplications, at a ratio of four in its
    /// MLP) and 4·N²·D in attention. A backward pass has as many again for the linear maps' inputs, as many for their
    /// weights if those learn, and twice as many in attention; what is not kept is computed anew.
    fn flops(&self) -> u64 {
        let (tokens, width) = (self.tokens() as u128, self.sizes.hidden_size as u128);
        let hidden = self.sizes.mlp_hidden_size() as u128;
        let mlp = 2 * tokens * width * 2 * hidden;
        let linear = 2 * tokens * width * 4 * width + mlp;
        let attention = 4 * tokens * tokens * width;
        let passes = if self.weights_learn { 3 } else { 2 };
        // Computed once more on the way back.
        let anew = match self.checkpointing {
            CheckpointingName::None => 0,
            // The hidden values, by the first of the two maps.
            CheckpointingName::Mlp => mlp / 2,
            CheckpointingName::Block => linear + attention,
        };
        let block = passes * linear + 3 * attention + anew;
        let blocks = self.batch as u128 * self.sizes.depth as u128;
        sayable(blocks.saturating_mul(block))
    }

    /// All of it.
    pub fn estimate(&self) -> Estimate {
        let backbone = self.sizes.num_params();
        let weights = 4 * backbone as u128;
        Estimate {
            backbone_parameters: backbone,
            added_parameters: self.added,
            added_percent: 100.0 * self.added as f64 / backbone as f64,
            trained_parameters: self.trained,
            tokens: self.tokens(),
            memory_bytes: sayable(weights.saturating_add(self.memory())),
            step_flops: self.flops(),
        }
    }
}

/// The number, or the largest that TOML can say.
fn sayable(number: u128) -> u64 {
    number.min(i64::MAX as u128) as u64
}

#[cfg(test)]
mod tests {
    use dmp_model::dit::Preset;
    use dmp_model::patch::PatchConfig;

    use super::*;

    #[test]
    fn the_papers_patch_of_dit_l_2_is_1_43_percent() {
        let sizes = "dit-l-2".parse::<Preset>().unwrap().config(32, 1);
        let patch = PatchConfig::paper(sizes.num_tokens(), sizes.hidden_size, sizes.depth);
        let work = Work {
            sizes: &sizes,
            prepended: 0,
            added: patch.added_params(),
            trained: patch.trained_params(),
            weights_learn: false,
            joined: 0,
            batch: 128,
            accumulate: 1,
            checkpointing: CheckpointingName::None,
        };
        let estimate = work.estimate();
        assert_eq!(estimate.added_parameters, 6_554_112);
        assert_eq!(format!("{:.2}", estimate.added_percent), "1.43");
        // A step of DiT-B/2's blocks with four images, by hand: 2·174 + 3·9.66 GFLOP.
        let sizes = "dit-b-2".parse::<Preset>().unwrap().config(32, 1);
        let work = Work {
            sizes: &sizes,
            batch: 4,
            ..work
        };
        let linear = 24 * 256 * 768u64.pow(2) * 12 * 4;
        let attention = 4 * 256u64.pow(2) * 768 * 12 * 4;
        assert_eq!(work.estimate().step_flops, 2 * linear + 3 * attention);
        let whole = Work {
            weights_learn: true,
            ..work
        };
        assert_eq!(whole.estimate().step_flops, 3 * linear + 3 * attention);
        let joined = Work {
            joined: 1000,
            ..work
        };
        assert_eq!(joined.memory() - work.memory(), 8 * 1000);
        // Computing blocks anew keeps a tenth of the activations.
        let block = Work {
            checkpointing: CheckpointingName::Block,
            ..work
        };
        let kept = 4 * 12 * 768 * 256 * 4;
        assert_eq!(work.memory() - block.memory(), 9 * kept);
        assert_eq!(block.estimate().step_flops, 3 * linear + 4 * attention);
        let mlp = Work {
            checkpointing: CheckpointingName::Mlp,
            ..work
        };
        // An MLP has two thirds of the linear maps, and its first map half of that.
        let anew = linear / 3;
        assert_eq!(mlp.estimate().step_flops, 2 * linear + anew + 3 * attention);
        let huge = Work {
            batch: usize::MAX,
            ..work
        };
        assert_eq!(huge.estimate().step_flops, i64::MAX as u64);
    }
}
