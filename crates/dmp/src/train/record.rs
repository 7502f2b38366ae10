//! From a step's tensors to its line of statistics.

use burn::tensor::Tensor;
use dmp_model::patch::Routing;
use dmp_model::train::{GradNorm, StepLoss};

use crate::run::StepRecord;

/// Reads the values of a step's loss.
pub(super) fn record(loss: &StepLoss, norm: GradNorm) -> StepRecord {
    let value = |tensor: &Tensor<1>| f64::from(tensor.clone().into_scalar::<f32>());
    StepRecord {
        loss: value(&loss.total),
        mse: value(&loss.mse),
        vb: loss.vb.as_ref().map(value),
        importance: loss.balance.as_ref().map(|terms| value(&terms.importance)),
        load: loss
            .balance
            .as_ref()
            .and_then(|terms| terms.load.as_ref())
            .map(value),
        gate_entropy: gate_entropy(&loss.routing),
        grad_norm: norm.0,
    }
}

/// Mean entropy of all masks over ln N: 1 is uniform, 0 a single prompt; `None` without masks.
fn gate_entropy(routing: &Routing) -> Option<f64> {
    let entropies: Vec<f64> = routing
        .masks
        .iter()
        .flat_map(|mask| {
            let prompts = mask.dims()[1];
            let values = dmp_model::host::values(mask.clone());
            values
                .chunks(prompts)
                .map(dmp_math::entropy::normalised_entropy)
                .collect::<Vec<_>>()
        })
        .collect();
    (!entropies.is_empty()).then(|| entropies.iter().sum::<f64>() / entropies.len() as f64)
}
