//! From a step's tensors to its line of statistics.

use burn::tensor::Tensor;
use dmp_model::patch::Routing;
use dmp_model::train::{Balance, StepLoss};

use crate::run::StepRecord;

/// Reads the values of a loss that is a mean over images.
pub(super) fn record(loss: &StepLoss) -> StepRecord {
    StepRecord {
        loss: value(&loss.total),
        mse: value(&loss.mse),
        vb: loss.vb.as_ref().map(value),
        ..StepRecord::default()
    }
}

/// Reads what the gate did on a whole batch; the loss is the balance terms' weighted sum.
pub(super) fn gate_record(routing: &Routing, balance: Option<&Balance>) -> StepRecord {
    let terms = balance.map(|balance| &balance.terms);
    StepRecord {
        loss: balance
            .and_then(|balance| balance.weighted.as_ref())
            .map_or(0.0, value),
        importance: terms.map(|terms| value(&terms.importance)),
        load: terms.and_then(|terms| terms.load.as_ref().map(value)),
        gate_entropy: gate_entropy(routing),
        ..StepRecord::default()
    }
}

fn value(tensor: &Tensor<1>) -> f64 {
    f64::from(tensor.clone().into_scalar::<f32>())
}

/// Mean entropy of all masks over ln N: 1 is uniform, 0 a single prompt; `None` without masks.
fn gate_entropy(routing: &Routing) -> Option<f64> {
    let prompts = routing.masks.first()?.dims()[1];
    // One read for all blocks: a GPU answers each only when it has done everything before.
    let masks = dmp_model::host::values(Tensor::cat(routing.masks.clone(), 0));
    let entropies = masks
        .chunks(prompts)
        .map(dmp_math::entropy::normalised_entropy);
    let count = entropies.len() as f64;
    Some(entropies.sum::<f64>() / count)
}
