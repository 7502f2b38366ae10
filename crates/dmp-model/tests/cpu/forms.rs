//! The forms a patch can have beyond the paper's: other gates, low-rank prompts, prompts on a grid, both positions.

mod limit;
mod strength;

use crate::tiny::{backbone, noise};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use dmp_math::diffusion::Diffusion;
use dmp_math::schedule::BetaSchedule;
use dmp_math::timesteps::Timesteps;
use dmp_math::weight::LossWeight;
use dmp_model::baked::Baked;
use dmp_model::checkpoint::{PatchMetadata, TensorFile, collect, load_patch, patch_bytes};
use dmp_model::denoiser::{Backbone, Denoiser};
use dmp_model::host;
use dmp_model::loss::NoisedBatch;
use dmp_model::patch::{
    BalanceForm, BalanceLoss, GateInput, GateKind, GateSharing, Init, Patch, PatchConfig, Position,
};
use dmp_model::patched::Patched;
use dmp_model::train::{Objective, PatchOptimizer, PatchRates};

const TIMES: [usize; 3] = [0, 500, 999];
const LABELS: [usize; 3] = [0, 1, 3];

/// The paper's form with its gate replaced.
fn gated(gate: GateKind) -> PatchConfig {
    PatchConfig {
        gate,
        gate_hidden: if gate.has_hidden() { 5 } else { 0 },
        ..PatchConfig::paper(16, 16, 2)
    }
}

/// One of each form that the paper does not have.
fn forms() -> Vec<PatchConfig> {
    let each = |gate| PatchConfig {
        gate_sharing: GateSharing::PerBlock,
        gate_input: GateInput::Both,
        ..gated(gate)
    };
    vec![
        gated(GateKind::Mlp),
        gated(GateKind::Attention),
        each(GateKind::Linear),
        each(GateKind::Mlp),
        each(GateKind::Attention),
        PatchConfig {
            temperature: 3.0,
            ..gated(GateKind::Linear)
        },
        PatchConfig {
            prompt_rank: 3,
            ..gated(GateKind::Linear)
        },
        PatchConfig {
            position: Position::Mix,
            init: Init::Gate,
            num_prompts: 3,
            prompt_tokens: 16,
            prompt_rank: 2,
            ..gated(GateKind::Linear)
        },
        PatchConfig {
            grid: Some([2, 3]),
            num_prompts: 6,
            ..gated(GateKind::Linear)
        },
        PatchConfig {
            position: Position::Mix,
            init: Init::Gate,
            num_prompts: 3,
            prompt_tokens: 4,
            grid: Some([2, 2]),
            ..gated(GateKind::Linear)
        },
        PatchConfig {
            position: Position::Both,
            grid: Some([4, 4]),
            num_prompts: 19,
            ..gated(GateKind::Linear)
        },
        PatchConfig {
            patch_below: Some(700),
            ..gated(GateKind::Linear)
        },
        PatchConfig {
            patch_below: Some(700),
            ..PatchConfig::mixture(3, 16, 16, 2)
        },
        PatchConfig {
            patch_below: Some(700),
            ..gated(GateKind::None)
        },
    ]
}

fn random(config: &PatchConfig, seed: u64, device: &Device) -> Patch {
    let config = PatchConfig {
        init: Init::Random,
        ..config.clone()
    };
    Patch::init(&config, seed, device)
}

fn predict(model: &impl Denoiser, device: &Device) -> Vec<f32> {
    host::values(model.predict(noise(3, 0, device), &TIMES, &LABELS))
}

#[test]
fn every_form_that_adds_starts_as_the_bare_backbone() {
    let device = Device::flex();
    let backbone = backbone(&device);
    let bare = predict(&backbone, &device);
    for config in forms() {
        let patch = Patch::init(&config, 1, &device);
        let patched = Patched::new(backbone.clone(), patch).unwrap();
        let same = predict(&patched, &device) == bare;
        assert_eq!(same, config.position != Position::Both, "{config:?}");
        let patched = Patched::new(backbone.clone(), random(&config, 1, &device)).unwrap();
        assert_ne!(predict(&patched, &device), bare, "{config:?}");
    }
}

#[test]
fn every_form_comes_back_from_its_file() {
    let device = Device::flex();
    let backbone = backbone(&device);
    for config in forms() {
        let patch = random(&config, 1, &device);
        let bytes = patch_bytes(&patch, &PatchMetadata::default()).unwrap();
        let file = load_patch(TensorFile::from_bytes(&bytes).unwrap(), &device).unwrap();
        assert_eq!(file.patch.config(), patch.config());
        let [before, after] =
            [patch, file.patch].map(|patch| Patched::new(backbone.clone(), patch).unwrap());
        assert_eq!(
            predict(&before, &device),
            predict(&after, &device),
            "{config:?}"
        );
    }
}

/// What is not in the paper is in a tensor, and in metadata that say otherwise it is refused.
#[test]
fn a_file_whose_settings_are_changed_is_refused() {
    let device = Device::flex();
    let config = PatchConfig {
        temperature: 3.0,
        patch_below: Some(700),
        ..gated(GateKind::Linear)
    };
    for (before, after) in [
        ("\"temperature\":3.0", "\"temperature\":2.0"),
        ("\"patch_below\":700", "\"patch_below\":701"),
        (",\"patch_below\":700", ""),
    ] {
        let bytes = patch_bytes(&random(&config, 1, &device), &PatchMetadata::default()).unwrap();
        let mut file = TensorFile::from_bytes(&bytes).unwrap();
        let json = file.metadata.get_mut("dmp.config").unwrap();
        assert!(json.contains(before), "{json}");
        *json = json.replace(before, after);
        let error = load_patch(file, &device).unwrap_err();
        assert!(error.to_string().contains("settings"), "{error}");
    }
}

#[test]
fn every_form_learns_all_it_has() {
    let device = Device::flex().autodiff();
    let diffusion = Diffusion::new(BetaSchedule::Linear, 1000);
    let objective = Objective {
        draw: Timesteps::Uniform.over(&diffusion),
        diffusion,
        weight: LossWeight::Constant,
        balance: BalanceLoss {
            form: BalanceForm::Shazeer,
            importance: 0.01,
            load: 0.0,
        },
    };
    let batch = NoisedBatch {
        x_start: noise(4, 1, &device) * 0.5,
        noise: noise(4, 2, &device),
        steps: vec![10, 200, 600, 900],
        target: None,
    };
    for config in forms() {
        let patch = Patch::init(&config, 1, &device);
        let before = collect(&patch.valid(), str::to_owned);
        let mut model = Patched::new(backbone(&device), patch).unwrap();
        let mut optimizer = PatchOptimizer::default();
        let mut losses = Vec::new();
        for _ in 0..30 {
            let loss = objective.patched(&model, &batch, &[0, 1, 2, 3], None);
            losses.push(loss.mse.clone().into_scalar::<f32>());
            let gradients = loss.total.backward();
            let rates = PatchRates {
                prompts: 0.1,
                gate: Some(0.01),
            };
            model = model.map_patch(|patch| {
                let gradients = GradientsParams::from_grads(gradients, &patch);
                optimizer.step(patch, vec![gradients], rates, None).0
            });
        }
        assert!(losses[29] < 0.98 * losses[0], "{config:?}: {losses:?}");
        for (name, tensor) in collect(&model.patch().valid(), str::to_owned) {
            // Of no use but to a noisy gate.
            if name != "w_noise" {
                assert_ne!(before[&name], tensor, "{config:?}: {name}");
            }
        }
    }
}

#[test]
fn a_hot_mask_is_flat_and_blocks_with_gates_of_their_own_differ() {
    let device = Device::flex();
    let condition = backbone(&device).condition(&TIMES, &LABELS);
    let mask = |config: PatchConfig, block: usize| {
        host::values(random(&config, 1, &device).masks(&condition).remove(block))
    };
    let spread = |mask: &[f32]| {
        mask.iter().copied().fold(0.0, f32::max) - mask.iter().copied().fold(1.0, f32::min)
    };
    let at = |temperature| {
        let config = PatchConfig {
            temperature,
            ..gated(GateKind::Linear)
        };
        spread(&mask(config, 0))
    };
    assert!(at(100.0) < 0.01 * at(1.0) + 1e-3 && at(0.1) > at(1.0));
    for gate in [GateKind::Linear, GateKind::Mlp, GateKind::Attention] {
        let config = PatchConfig {
            gate_sharing: GateSharing::PerBlock,
            ..gated(gate)
        };
        assert_ne!(mask(config.clone(), 0), mask(config, 1), "{gate:?}");
    }
}

/// On another grid constant prompts are what they were; on the backbone's own a grid changes no bit.
#[test]
fn prompts_on_a_grid_are_interpolated() {
    let device = Device::flex();
    let backbone = backbone(&device);
    let own = PatchConfig::paper(16, 16, 2);
    let named = PatchConfig {
        grid: Some([4, 4]),
        ..own.clone()
    };
    let values = |config: &PatchConfig| {
        predict(
            &Patched::new(backbone.clone(), random(config, 4, &device)).unwrap(),
            &device,
        )
    };
    assert_eq!(values(&own), values(&named));

    // One prompt for the whole of a mixture's grid is one vector for every token.
    let mixture = |grid: [usize; 2]| {
        let config = PatchConfig {
            position: Position::Mix,
            gate: GateKind::Uniform,
            num_prompts: 1,
            prompt_tokens: grid[0] * grid[1],
            grid: Some(grid),
            ..PatchConfig::paper(16, 16, 2)
        };
        let mut tensors = collect(&Patch::zeroed(&config, &device), str::to_owned);
        for tensor in tensors.values_mut() {
            let values = tensor.values.iter_mut().enumerate();
            values.for_each(|(i, value)| *value = (i % 16) as f32 * 0.1 - 0.5);
        }
        let patch =
            dmp_model::checkpoint::apply(Patch::zeroed(&config, &device), tensors, str::to_owned);
        predict(
            &Patched::new(backbone.clone(), patch.unwrap()).unwrap(),
            &device,
        )
    };
    let whole = mixture([4, 4]);
    for grid in [[1, 1], [2, 3], [5, 7]] {
        for (a, b) in mixture(grid).iter().zip(&whole) {
            assert!((a - b).abs() < 1e-4, "{grid:?}: {a} and {b}");
        }
    }
}

/// A patch trained at one size is there at others; at its own it is what it was.
#[test]
fn a_patched_backbone_takes_images_of_other_sizes() {
    let device = Device::flex();
    for config in forms() {
        let patched = Patched::new(backbone(&device), random(&config, 2, &device)).unwrap();
        let at = |size| patched.clone().map_backbone(|model| model.resized(size));
        let same = at([8, 8]).unwrap();
        assert_eq!(predict(&same, &device), predict(&patched, &device));
        let other = at([12, 6]).unwrap();
        let layout = other.layout();
        assert_eq!((layout.height, layout.width), (12, 6));
        let x = Tensor::ones([2, 1, 12, 6], &device);
        let output = other.predict(x, &[3, 800], &[0, 2]);
        assert_eq!(output.dims(), [2, 2, 12, 6]);
        assert!(host::values(output).iter().all(|value| value.is_finite()));
        // And back.
        let back = other.map_backbone(|model| model.resized([8, 8])).unwrap();
        assert_eq!(predict(&back, &device), predict(&patched, &device));
        let error = at([12, 7]).unwrap_err().to_string();
        assert!(
            error.contains("12x7") && error.contains("multiples of 2"),
            "{error}"
        );
    }
}

/// Baked for the steps of a sampler, every form whose gate sees no labels is what it was there, at other sizes too.
#[test]
fn a_baked_patch_is_the_patch_at_its_steps() {
    let device = Device::flex();
    let steps = [999, 500, 0];
    for config in forms() {
        let config = PatchConfig {
            gate_input: GateInput::Timestep,
            ..config
        };
        let patched = Patched::new(backbone(&device), random(&config, 2, &device)).unwrap();
        let baked = Baked::new(backbone(&device), patched.bake(&steps, 3).unwrap()).unwrap();
        assert_eq!(baked.timesteps(), steps);
        let close = |found: &[f32], wanted: &[f32]| {
            for (a, b) in found.iter().zip(wanted) {
                assert!(
                    (a - b).abs() < 1e-5 * (1.0 + b.abs()),
                    "{config:?}: {a}, {b}"
                );
            }
        };
        close(&predict(&baked, &device), &predict(&patched, &device));
        let size = [12, 6];
        let patched = patched.map_backbone(|model| model.resized(size)).unwrap();
        let baked = baked.map_backbone(|model| model.resized(size)).unwrap();
        let x = Tensor::ones([2, 1, 12, 6], &device);
        let at =
            |model: &dyn Denoiser| host::values(model.predict(x.clone(), &[500, 999], &[0, 2]));
        close(&at(&baked), &at(&patched));
    }
    let labelled = Patched::new(
        backbone(&device),
        random(&gated(GateKind::Linear), 2, &device),
    );
    let labelled = labelled.unwrap();
    // One label is no choice.
    assert!(labelled.bake(&steps, 1).is_ok());
    let error = labelled.bake(&steps, 2).unwrap_err();
    assert!(
        error.to_string().contains("--gate-input timestep"),
        "{error}"
    );
}
