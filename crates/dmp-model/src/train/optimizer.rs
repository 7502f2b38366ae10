//! AdamW over a patch (two learning rates) or over a whole network (one), with the global gradient norm.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Bytes, Tensor};

use crate::patch::{BlockPrompts, Patch};

/// Learning rates of a patch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PatchRates {
    /// Of the prompts.
    pub prompts: f64,
    /// Of the gate and its noise weights; ten times the prompts' in the paper. `None` leaves them as they are, and the
    /// moments of their gradients too.
    pub gate: Option<f64>,
}

/// Euclidean norm of all gradients of a step, before clipping.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradNorm(pub f64);

/// Saved optimiser state that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "the optimiser state cannot be read ({0}); delete that checkpoint to go on from the one before"
)]
pub struct OptimizerStateError(String);

/// AdamW with PyTorch's β and ε.
fn adamw(weight_decay: f32) -> ModuleOptimizer {
    AdamWConfig::new()
        .with_epsilon(1e-8)
        .with_weight_decay(weight_decay)
        .init()
}

/// Optimises a patch: prompts at one rate, gate and noise weights at another.
pub struct PatchOptimizer {
    prompts: ModuleOptimizer,
    gate: ModuleOptimizer,
}

impl Default for PatchOptimizer {
    fn default() -> Self {
        Self {
            prompts: adamw(0.0),
            gate: adamw(0.0),
        }
    }
}

impl PatchOptimizer {
    /// Updates `patch` by the sum of `parts`, the gradients of the parts of a batch; that sum is scaled down to norm
    /// `clip` first, if one is given.
    pub fn step(
        &mut self,
        patch: Patch,
        parts: Vec<GradientsParams>,
        rates: PatchRates,
        clip: Option<f64>,
    ) -> (Patch, GradNorm) {
        let mut grads = sum(&patch, parts);
        if rates.gate.is_none() {
            // What is not applied is no part of the norm.
            grads = take_prompts(&patch, &mut grads);
        }
        let norm = clip_to(&patch, &mut grads, clip);
        let prompt_grads = take_prompts(&patch, &mut grads);
        let patch = self.prompts.step(rates.prompts, patch, prompt_grads);
        let patch = match rates.gate {
            Some(rate) => self.gate.step(rate, patch, grads),
            None => patch,
        };
        (patch, norm)
    }

    /// State of the two optimisers, for exact resumption.
    pub fn state(&self) -> Result<[Vec<u8>; 2], OptimizerStateError> {
        Ok([state_bytes(&self.prompts)?, state_bytes(&self.gate)?])
    }

    /// Continues from a saved state.
    pub fn from_state([prompts, gate]: [Vec<u8>; 2]) -> Result<Self, OptimizerStateError> {
        Ok(Self {
            prompts: with_state(adamw(0.0), prompts)?,
            gate: with_state(adamw(0.0), gate)?,
        })
    }
}

/// The gradients of the prompts, out of those of the whole patch.
fn take_prompts(patch: &Patch, grads: &mut GradientsParams) -> GradientsParams {
    let mut prompts = GradientsParams::new();
    for id in patch.prompt_ids() {
        if let Some(grad) = grads.remove::<2>(id) {
            prompts.register(id, grad);
        }
    }
    prompts
}

/// Optimises every parameter of a module at one rate.
pub struct WholeOptimizer {
    inner: ModuleOptimizer,
}

impl WholeOptimizer {
    /// AdamW with this weight decay.
    pub fn new(weight_decay: f32) -> Self {
        Self {
            inner: adamw(weight_decay),
        }
    }

    /// Updates `module` by the sum of `parts`, the gradients of the parts of a batch; that sum is scaled down to norm
    /// `clip` first, if one is given.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        parts: Vec<GradientsParams>,
        rate: f64,
        clip: Option<f64>,
    ) -> (M, GradNorm) {
        let mut grads = sum(&module, parts);
        let norm = clip_to(&module, &mut grads, clip);
        (self.inner.step(rate, module, grads), norm)
    }

    /// State, for exact resumption.
    pub fn state(&self) -> Result<Vec<u8>, OptimizerStateError> {
        state_bytes(&self.inner)
    }

    /// Continues from a saved state.
    pub fn load_state(self, state: Vec<u8>) -> Result<Self, OptimizerStateError> {
        Ok(Self {
            inner: with_state(self.inner, state)?,
        })
    }
}

fn sum<M: Module>(module: &M, parts: Vec<GradientsParams>) -> GradientsParams {
    let mut sum = GradientsAccumulator::new();
    for part in parts {
        sum.accumulate(module, part);
    }
    sum.grads()
}

fn state_bytes(optimizer: &ModuleOptimizer) -> Result<Vec<u8>, OptimizerStateError> {
    Ok(optimizer
        .into_bytes()
        .map_err(|error| OptimizerStateError(error.to_string()))?
        .to_vec())
}

fn with_state(
    optimizer: ModuleOptimizer,
    state: Vec<u8>,
) -> Result<ModuleOptimizer, OptimizerStateError> {
    optimizer
        .from_bytes(Bytes::from_bytes_vec(state))
        .map_err(|error| OptimizerStateError(error.to_string()))
}

/// Norm over all gradients; scales them down to `limit` if it is exceeded.
fn clip_to<M: Module>(module: &M, grads: &mut GradientsParams, limit: Option<f64>) -> GradNorm {
    let mut squares = SquareSums { grads, sum: None };
    module.visit(&mut squares);
    let norm = squares
        .sum
        .map_or(0.0, |sum| f64::from(sum.into_scalar::<f32>()).sqrt());
    if let Some(limit) = limit.filter(|limit| norm > *limit) {
        module.visit(&mut Scale {
            grads,
            factor: (limit / norm) as f32,
        });
    }
    GradNorm(norm)
}

struct SquareSums<'a> {
    grads: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for SquareSums<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            let square = grad.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Scale<'a> {
    grads: &'a mut GradientsParams,
    factor: f32,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            self.grads.register(param.id, grad * self.factor);
        }
    }
}

impl Patch {
    fn prompt_ids(&self) -> Vec<ParamId> {
        self.prompts().iter().flat_map(BlockPrompts::ids).collect()
    }
}
