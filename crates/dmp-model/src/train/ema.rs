//! Exponential moving average of a module's parameters.

use std::collections::VecDeque;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// Follows a module: `average ← decay·average + (1 − decay)·parameter` at each update, with the decay
/// warmed up as min(decay, (1 + n)/(10 + n)) so that the first updates count.
#[derive(Debug, Clone)]
pub struct Ema<M> {
    average: M,
    decay: f64,
    updates: u64,
}

impl<M: Module> Ema<M> {
    /// Starts from `average` after `updates` updates.
    pub fn new(average: M, decay: f64, updates: u64) -> Self {
        Self {
            average: average.valid().no_grad(),
            decay,
            updates,
        }
    }

    /// The averaged module.
    pub fn average(&self) -> &M {
        &self.average
    }

    /// Moves the average towards `module`.
    pub fn update(&mut self, module: &M) {
        let n = self.updates as f64;
        let decay = self.decay.min((1.0 + n) / (10.0 + n));
        let mut flat = Flat::default();
        module.visit(&mut flat);
        self.average = self.average.clone().map(&mut Blend {
            targets: flat.0,
            decay: decay as f32,
        });
        self.updates += 1;
    }
}

/// Parameters in visiting order, flattened, off the autodiff graph.
#[derive(Default)]
struct Flat(VecDeque<Tensor<1>>);

impl ModuleVisitor for Flat {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0
            .push_back(param.val().inner().flatten(0, D as i64 - 1));
    }
}

struct Blend {
    targets: VecDeque<Tensor<1>>,
    decay: f32,
}

impl ModuleMapper for Blend {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(target) = self.targets.pop_front() else {
            return param;
        };
        let decay = self.decay;
        param.map(|average| {
            let shape: [usize; D] = average.dims();
            average.clone() + (target.reshape(shape) - average) * (1.0 - decay)
        })
    }
}
