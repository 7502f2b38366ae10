//! Where samplers, patches and architectures meet.

use burn::tensor::Tensor;

/// Layout of what a denoiser takes and gives: pixels or latents `[B, C, H, W]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLayout {
    /// Channels C of the noised input (and of the predicted noise).
    pub channels: usize,
    /// Rows H.
    pub height: usize,
    /// Columns W.
    pub width: usize,
}

impl ImageLayout {
    /// Values in one image: C·H·W.
    pub fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether an image holds no values at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A network that predicts the noise in a noised image.
///
/// # Shapes
/// - `x`: `[B, C, H, W]`, `timesteps` and `labels`: B entries
/// - output: `[B, C, H, W]`, or `[B, 2C, H, W]` when [`Denoiser::learns_variance`]: predicted noise,
///   then the interpolation logits of the learned-range variance.
pub trait Denoiser {
    /// Predicts the noise; `timesteps` are indices of the schedule the network was trained with.
    fn predict(&self, x: Tensor<4>, timesteps: &[usize], labels: &[usize]) -> Tensor<4>;

    /// Layout of one input image.
    fn layout(&self) -> ImageLayout;

    /// Whether the output's second half of the channels parametrises the variance.
    fn learns_variance(&self) -> bool;

    /// The label that stands for "no label", if the network was trained with label dropout.
    fn null_label(&self) -> Option<usize>;
}

/// What a transformer knows of the noise level and the label when its blocks run.
#[derive(Debug, Clone)]
pub struct Conditioning {
    /// Embedding of the timestep alone, `[B, D]`.
    pub timestep: Tensor<2>,
    /// Timestep plus label embedding, `[B, D]`: what the blocks are modulated by.
    pub combined: Tensor<2>,
}

/// Called by a backbone around its blocks. The default does nothing.
pub trait BlockHook {
    /// May change the tokens `[B, N, D]` that enter block `block`, and their number at block 0.
    fn before_block(
        &mut self,
        block: usize,
        tokens: Tensor<3>,
        conditioning: &Conditioning,
    ) -> Tensor<3> {
        let _ = (block, conditioning);
        tokens
    }

    /// May change the tokens after the last block; must leave the backbone's own number of tokens.
    fn after_blocks(&mut self, tokens: Tensor<3>) -> Tensor<3> {
        tokens
    }
}

/// The hook of a bare backbone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHook;

impl BlockHook for NoHook {}

/// A transformer denoiser that lets a [`BlockHook`] see the input of every block.
pub trait Backbone: Denoiser {
    /// Token width D.
    fn hidden_size(&self) -> usize;

    /// Tokens N of one image.
    fn num_tokens(&self) -> usize {
        let [rows, columns] = self.token_grid();
        rows * columns
    }

    /// Rows and columns of the tokens of one image.
    fn token_grid(&self) -> [usize; 2];

    /// Number of blocks.
    fn depth(&self) -> usize;

    /// Embeds noise level and label: what a gate sees, without running a block.
    fn condition(&self, timesteps: &[usize], labels: &[usize]) -> Conditioning;

    /// [`Denoiser::predict`] with `hook` around the blocks.
    fn predict_hooked<H: BlockHook>(
        &self,
        x: Tensor<4>,
        timesteps: &[usize],
        labels: &[usize],
        hook: &mut H,
    ) -> Tensor<4>;
}
