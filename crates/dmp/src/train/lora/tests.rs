//! A batch in parts has the gradients of the batch in one; training lowers the loss and leaves the backbone as it is.

use burn::optim::GradientsParams;
use dmp_math::schedule::BetaSchedule;
use dmp_math::timesteps::Timesteps;
use dmp_math::weight::LossWeight;
use dmp_model::checkpoint::{StoredType, backbone_bytes, load_backbone};
use dmp_model::lora::{LoraConfig, Target};

use super::*;
use crate::train::Decay;
use crate::train::tests::{TINY, assert_close, batch, random, summed};

fn settings() -> LoraSettings {
    LoraSettings {
        model: "tiny".to_owned(),
        model_sha256: String::new(),
        data: "tiny".to_owned(),
        data_sha256: String::new(),
        class: None,
        seed: 3,
        steps: 1,
        batch: 7,
        learning_rate: 0.02,
        warmup: 0,
        decay: Decay::Constant,
        ema_decay: 0.0,
        flip: true,
        label_dropout: 0.3,
        clip_norm: None,
        accumulate: 1,
        schedule: BetaSchedule::Linear,
        loss_weight: LossWeight::Constant,
        timesteps: Timesteps::Importance,
        stable_targets: Some(4),
        lora: LoraConfig::new(2, &TINY),
    }
}

/// A trainee on random weights, and a batch of seven.
fn begun(settings: &LoraSettings) -> (LoraTrainee, HostBatch) {
    let device = Device::flex();
    let model = random(&TINY, &device);
    let bytes = backbone_bytes(&model, settings.schedule, StoredType::F32).unwrap();
    let file = TensorFile::from_bytes(&bytes).unwrap();
    let backbone = load_backbone(file, None, &device.clone().autodiff()).unwrap();
    let batch = batch(settings.draw_plan(backbone.model.null_label(), TINY.num_classes));
    let trainee = LoraTrainee::new(settings, backbone, None, &device).unwrap();
    (trainee, batch)
}

#[test]
fn a_batch_in_parts_has_the_gradients_of_the_batch_in_one() {
    let (mut trainee, batch) = begun(&settings());
    // From the second step on both factors have a gradient.
    trainee.step(0, &batch).unwrap();
    let learner = &trainee.learner;
    let network = |lora: &Lora| lora.join(&trainee.backbone);
    let loss = learner.objective.bare(
        &network(&learner.module),
        &batch.noised(&learner.device),
        &batch.labels,
    );
    let total = f64::from(loss.total.clone().into_scalar::<f32>());
    let whole = GradientsParams::from_grads(loss.total.backward(), &learner.module);
    let expected = summed(&learner.module, &[whole]);
    for count in [1, 2, 3] {
        let workers = Workers::with_count(count).unwrap();
        let (gradients, record) = learner.gradients(&batch, &workers, network);
        assert!((record.loss - total).abs() < 1e-5 * total, "{count}");
        assert_close(&summed(&learner.module, &gradients), &expected);
    }
}

#[test]
fn training_lowers_the_loss_and_not_a_byte_of_the_backbone_changes() {
    for targets in [Target::ALL.to_vec(), vec![Target::Qkv, Target::Fc2]] {
        let mut settings = settings();
        settings.lora.targets = targets.iter().copied().collect();
        let (mut trainee, batch) = begun(&settings);
        let losses: Vec<f64> = (0..30)
            .map(|step| trainee.step(step, &batch).unwrap().loss)
            .collect();
        assert!(losses[29] < 0.9 * losses[0], "{targets:?}: {losses:?}");
        trainee.verify_frozen().unwrap();
    }
}

/// No timestep is drawn at which it would do nothing, and what is drawn is weighed by the same draw.
#[test]
fn a_limited_lora_is_trained_below_its_limit() {
    let mut limited = settings();
    assert!(begun(&limited).1.steps().iter().any(|&step| step >= 60));
    limited.lora.patch_below = Some(60);
    let (mut trainee, batch) = begun(&limited);
    assert!(batch.steps().iter().all(|&step| step < 60));
    assert_eq!(trainee.learner.objective.draw, limited.timestep_draw());
    assert!(trainee.step(0, &batch).unwrap().loss.is_finite());
}
