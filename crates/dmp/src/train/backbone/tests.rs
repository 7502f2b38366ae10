//! A batch in parts has the gradients and the loss of the batch in one.

use super::*;
use crate::data::{Dataset, ImageShape};
use crate::run::Prefetch;
use crate::train::tests::{assert_close, random, summed};

fn settings() -> BackboneSettings {
    BackboneSettings {
        model: None,
        data: "tiny".to_owned(),
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
        schedule: BetaSchedule::Linear,
        loss_weight: LossWeight::P2 { k: 1.0, gamma: 1.0 },
        backbone: DitConfig {
            input_size: 4,
            patch_size: 2,
            in_channels: 1,
            hidden_size: 8,
            depth: 2,
            num_heads: 2,
            mlp_ratio: 2.0,
            learn_sigma: true,
            num_classes: 3,
            class_dropout_prob: 0.1,
        },
    }
}

#[test]
fn a_batch_in_parts_has_the_gradients_of_the_batch_in_one() {
    let (settings, device) = (settings(), Device::flex());
    let start = random(&settings.backbone, &device);
    let trainee = BackboneTrainee::new(&settings, Some(&start), None, &device).unwrap();
    let shape = ImageShape {
        channels: 1,
        height: 4,
        width: 4,
    };
    let pixels = (0..10 * shape.len())
        .map(|i| (i * 37 % 251) as u8)
        .collect();
    let data = Dataset::new(pixels, (0..10).map(|i| i % 3).collect(), shape, 3).unwrap();
    let mut batches = Prefetch::start(settings.draw_plan(), data, 0..1).unwrap();
    let batch = batches.next().unwrap();

    let noised = batch.noised(&trainee.device);
    let loss = trainee
        .objective
        .bare(&trainee.model, &noised, &batch.labels);
    let total = f64::from(loss.total.clone().into_scalar::<f32>());
    let whole = GradientsParams::from_grads(loss.total.backward(), &trainee.model);
    let expected = summed(&trainee.model, &[whole]);
    for count in [1, 2, 3] {
        let (gradients, record) = trainee.gradients(&batch, &Workers::with_count(count).unwrap());
        assert!((record.loss - total).abs() < 1e-5 * total, "{count}");
        assert_close(&summed(&trainee.model, &gradients), &expected);
    }
}
