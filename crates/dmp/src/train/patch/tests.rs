//! A batch in parts has the gradients and the loss of the batch in one.

use dmp_math::schedule::BetaSchedule;
use dmp_math::timesteps::Timesteps;
use dmp_math::weight::LossWeight;
use dmp_model::checkpoint::{StoredType, backbone_bytes, load_backbone};
use dmp_model::host;
use dmp_model::patch::{BalanceForm, BalanceLoss, GateKind, Init, LearnedGate, PatchConfig};

use super::*;
use crate::compute::Dtype;
use crate::train::Decay;
use crate::train::tests::{TINY, assert_close, batch, random, summed};

fn settings(gate: GateKind, form: BalanceForm) -> PatchSettings {
    PatchSettings {
        model: "tiny".to_owned(),
        model_sha256: String::new(),
        data: "tiny".to_owned(),
        data_sha256: String::new(),
        class: None,
        seed: 3,
        steps: 1,
        batch: 7,
        prompt_rate: 0.1,
        gate_rate: 0.1,
        gate_after: 0,
        warmup: 0,
        decay: Decay::Constant,
        ema_decay: 0.0,
        flip: true,
        label_dropout: 0.3,
        clip_norm: None,
        accumulate: 1,
        schedule: BetaSchedule::Linear,
        loss_weight: LossWeight::MinSnr { gamma: 5.0 },
        timesteps: Timesteps::Importance,
        stable_targets: Some(4),
        gate_noise: true,
        dtype: Dtype::F32,
        balance: BalanceLoss {
            form,
            importance: 0.5,
            load: 0.25,
        },
        patch: PatchConfig {
            gate,
            top_k: 0.5,
            init: Init::Random,
            ..PatchConfig::paper(4, 8, 2)
        },
    }
}

/// A trainee on random weights, and a batch of seven.
fn begun(settings: &PatchSettings) -> (PatchTrainee, HostBatch) {
    let device = Device::flex();
    let file = {
        let model = random(&TINY, &device);
        let bytes = backbone_bytes(&model, settings.schedule, StoredType::F32).unwrap();
        TensorFile::from_bytes(&bytes).unwrap()
    };
    let backbone = load_backbone(file, None, &device.clone().autodiff()).unwrap();
    let draws = settings.draw_plan(backbone.model.null_label(), TINY.num_classes);
    let batch = batch(draws);
    (
        PatchTrainee::new(settings, backbone, None, &device).unwrap(),
        batch,
    )
}

#[test]
fn a_batch_in_parts_has_the_gradients_of_the_batch_in_one() {
    for (gate, form) in [
        (GateKind::Linear, BalanceForm::Shazeer),
        (GateKind::Linear, BalanceForm::Reference),
        (GateKind::Uniform, BalanceForm::Shazeer),
        (GateKind::None, BalanceForm::Shazeer),
    ] {
        let settings = settings(gate, form);
        let (mut trainee, batch) = begun(&settings);
        let noise = batch.gate_noise(&trainee.device);
        let loss = trainee.objective.patched(
            &trainee.model,
            &batch.noised(&trainee.device),
            &batch.labels,
            noise.as_ref(),
        );
        let total = f64::from(loss.total.clone().into_scalar::<f32>());
        let whole = GradientsParams::from_grads(loss.total.backward(), trainee.model.patch());
        let expected = summed(trainee.model.patch(), &[whole]);
        for (count, pieces) in [(1, 1), (2, 1), (3, 1), (1, 3), (2, 2), (2, 9)] {
            let workers = Workers::with_count(count).unwrap();
            trainee.settings.accumulate = pieces;
            let (gradients, record) = trainee.gradients(&batch, &workers);
            assert!(
                (record.loss - total).abs() < 1e-5 * total,
                "{gate:?} {form:?} {count}: loss {}, not {total}",
                record.loss
            );
            assert_close(&summed(trainee.model.patch(), &gradients), &expected);
        }
    }
}

#[test]
fn a_gate_stays_as_it_is_until_its_turn() {
    let settings = PatchSettings {
        gate_after: 1,
        ..settings(GateKind::Linear, BalanceForm::Shazeer)
    };
    let (mut trainee, batch) = begun(&settings);
    let weights = |trainee: &PatchTrainee| {
        let patch = trainee.model.patch();
        let gate = host::values(patch.gate().and_then(LearnedGate::linear).unwrap().weight());
        (host::values(patch.prompts_of(0).unwrap()), gate)
    };
    let (prompts, gate) = weights(&trainee);
    trainee.step(0, &batch).unwrap();
    let (learnt, still) = weights(&trainee);
    assert!(learnt != prompts && still == gate);
    trainee.step(1, &batch).unwrap();
    assert!(weights(&trainee).1 != gate);
}

/// No timestep is drawn at which the patch would do nothing, and what is drawn is weighed by the same draw.
#[test]
fn a_limited_patch_is_trained_below_its_limit() {
    let whole = settings(GateKind::Linear, BalanceForm::Shazeer);
    let steps = |settings: &PatchSettings| begun(settings).1.steps().to_vec();
    assert!(steps(&whole).iter().any(|&step| step >= 60));
    let mut limited = whole.clone();
    limited.patch.patch_below = Some(60);
    assert!(steps(&limited).iter().all(|&step| step < 60));
    let (mut trainee, batch) = begun(&limited);
    assert_eq!(trainee.objective.draw, limited.timestep_draw());
    assert!(trainee.step(0, &batch).unwrap().loss.is_finite());
}

#[test]
fn a_gate_without_noise_draws_none() {
    let noisy = settings(GateKind::Linear, BalanceForm::Shazeer);
    let quiet = PatchSettings {
        gate_noise: false,
        ..noisy.clone()
    };
    assert!(noisy.draw_plan(None, 2).gate.is_some());
    assert!(quiet.draw_plan(None, 2).gate.is_none());
}
