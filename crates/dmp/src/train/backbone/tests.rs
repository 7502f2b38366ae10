//! A batch in parts has the gradients and the loss of the batch in one.

use burn::optim::GradientsParams;

use super::*;
use crate::train::tests::{TINY, assert_close, batch, random, summed};

fn settings() -> BackboneSettings {
    BackboneSettings {
        model: None,
        model_sha256: None,
        data: "tiny".to_owned(),
        data_sha256: String::new(),
        class: None,
        seed: 3,
        steps: 1,
        batch: 7,
        learning_rate: 0.1,
        weight_decay: 0.0,
        warmup: 0,
        decay: Decay::Constant,
        ema_decay: 0.0,
        flip: true,
        label_dropout: 0.3,
        clip_norm: None,
        accumulate: 1,
        schedule: BetaSchedule::Linear,
        loss_weight: LossWeight::P2 { k: 1.0, gamma: 1.0 },
        timesteps: Timesteps::Importance,
        stable_targets: None,
        backbone: TINY,
    }
}

#[test]
fn a_batch_in_parts_has_the_gradients_of_the_batch_in_one() {
    let (settings, device) = (settings(), Device::flex());
    let start = random(&settings.backbone, &device);
    let mut trainee = BackboneTrainee::new(&settings, Some(&start), None, &device).unwrap();
    let learner = &mut trainee.learner;
    let batch = batch(settings.draw_plan());

    let noised = batch.noised(&learner.device);
    let loss = learner
        .objective
        .bare(&learner.module, &noised, &batch.labels);
    let total = f64::from(loss.total.clone().into_scalar::<f32>());
    let whole = GradientsParams::from_grads(loss.total.backward(), &learner.module);
    let expected = summed(&learner.module, &[whole]);
    for (count, pieces) in [(1, 1), (2, 1), (3, 1), (1, 3), (2, 2)] {
        let workers = Workers::with_count(count).unwrap();
        learner.accumulate = pieces;
        let (gradients, record) = learner.gradients(&batch, &workers, Dit::clone);
        assert!((record.loss - total).abs() < 1e-5 * total, "{count}");
        assert_close(&summed(&learner.module, &gradients), &expected);
    }
}
