//! What must hold whatever the numbers: a zero patch changes nothing, the backbone stays as it is, an image
//! depends on its seed and index alone, samplers recover a distribution they can be checked against.

mod lora;
mod peft;

use crate::tiny::{backbone, config, noise};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use dmp_math::diffusion::Diffusion;
use dmp_math::schedule::BetaSchedule;
use dmp_math::timesteps::Timesteps;
use dmp_math::weight::LossWeight;
use dmp_model::checkpoint::{collect, fingerprint};
use dmp_model::denoiser::{Backbone, BlockHook, Conditioning, Denoiser, ImageLayout};
use dmp_model::dit::{Dit, public_key};
use dmp_model::host;
use dmp_model::loss::NoisedBatch;
use dmp_model::patch::{
    BalanceForm, BalanceLoss, GateKind, Init, Patch, PatchConfig, Position, Router,
};
use dmp_model::patched::Patched;
use dmp_model::sampler::{ImageNoise, Method, SampleRequest, sample};
use dmp_model::train::{Objective, PatchOptimizer, PatchRates};

fn bits(tensor: Tensor<4>) -> Vec<u32> {
    tensor
        .into_data()
        .try_into_vec::<f32>()
        .unwrap()
        .into_iter()
        .map(f32::to_bits)
        .collect()
}

fn objective() -> Objective {
    let balance = BalanceLoss {
        form: BalanceForm::Shazeer,
        importance: 0.01,
        load: 0.01,
    };
    let diffusion = Diffusion::new(BetaSchedule::Linear, 1000);
    Objective {
        draw: Timesteps::Uniform.over(&diffusion),
        diffusion,
        weight: LossWeight::Constant,
        balance,
    }
}

#[test]
fn a_zero_patch_changes_no_output_bit() {
    let device = Device::flex();
    let backbone = backbone(&device);
    let x = noise(3, 0, &device);
    let (t, y) = ([0, 500, 999], [0, 1, 3]);
    let bare = bits(backbone.predict(x.clone(), &t, &y));
    for gate in [GateKind::Linear, GateKind::Uniform, GateKind::None] {
        let patch = Patch::zeroed(
            &PatchConfig {
                gate,
                ..PatchConfig::paper(16, 16, 2)
            },
            &device,
        );
        let patched = Patched::new(backbone.clone(), patch).unwrap();
        assert_eq!(bits(patched.predict(x.clone(), &t, &y)), bare, "{gate:?}");
    }
}

/// With a random gate and no prompts yet, whatever the position that adds.
#[test]
fn a_gate_without_prompts_changes_no_output_bit() {
    let device = Device::flex();
    let backbone = backbone(&device);
    let x = noise(3, 0, &device);
    let (t, y) = ([0, 500, 999], [0, 1, 3]);
    let bare = bits(backbone.predict(x.clone(), &t, &y));
    for (position, prompt_tokens) in [(Position::Add, 1), (Position::Mix, 16)] {
        let config = PatchConfig {
            position,
            prompt_tokens,
            init: Init::Gate,
            ..PatchConfig::paper(16, 16, 2)
        };
        let patch = Patch::init(&config, 0, &device);
        let masks = host::values(patch.masks(&backbone.condition(&t, &y)).remove(0));
        assert!(masks.iter().any(|mask| *mask != masks[0]), "{position:?}");
        let patched = Patched::new(backbone.clone(), patch).unwrap();
        assert_eq!(
            bits(patched.predict(x.clone(), &t, &y)),
            bare,
            "{position:?}"
        );
    }
}

/// One prompt of a mixture under a uniform gate is added whole to every image.
#[test]
fn a_mixture_adds_its_prompts_weighted_sum() {
    let device = Device::flex();
    let config = PatchConfig {
        position: Position::Mix,
        gate: GateKind::Uniform,
        init: Init::Random,
        num_prompts: 3,
        prompt_tokens: 4,
        ..PatchConfig::paper(4, 8, 1)
    };
    let patch = Patch::init(&config, 0, &device);
    let condition = Conditioning {
        timestep: Tensor::zeros([2, 8], &device),
        combined: Tensor::zeros([2, 8], &device),
    };
    let tokens = Tensor::zeros([2, 4, 8], &device);
    let added = Router::new(&patch, None).before_block(0, tokens, &condition);
    let prompts = host::values(patch.prompts_of(0).unwrap());
    for (i, value) in host::values(added).into_iter().enumerate() {
        let at = |prompt: usize| prompts[prompt * 32 + i % 32];
        let wanted = (at(0) + at(1) + at(2)) / 3.0;
        assert!((value - wanted).abs() < 1e-6, "{i}: {value}, not {wanted}");
    }
}

/// Loss of the same batch before and after steps on it, and the patch after them.
fn overfit(gate: GateKind, position: Position) -> (f32, f32, Patched<Dit>) {
    let device = Device::flex().autodiff();
    let patch = Patch::zeroed(
        &PatchConfig {
            gate,
            position,
            prompt_tokens: if position == Position::Mix { 16 } else { 1 },
            ..PatchConfig::paper(16, 16, 2)
        },
        &device,
    );
    let mut model = Patched::new(backbone(&device), patch).unwrap();
    let batch = NoisedBatch {
        x_start: noise(4, 1, &device) * 0.5,
        noise: noise(4, 2, &device),
        steps: vec![10, 200, 600, 900],
        target: None,
    };
    let mut optimizer = PatchOptimizer::default();
    let mut losses = Vec::new();
    for _ in 0..30 {
        let loss = objective().patched(&model, &batch, &[0, 1, 2, 3], None);
        losses.push(loss.mse.clone().into_scalar::<f32>());
        let gradients = loss.total.backward();
        let rates = PatchRates {
            prompts: 0.3,
            gate: Some(0.01),
        };
        model = model.map_patch(|patch| {
            let gradients = GradientsParams::from_grads(gradients, &patch);
            optimizer.step(patch, vec![gradients], rates, None).0
        });
    }
    (losses[0], losses[29], model)
}

#[test]
fn every_gate_learns_and_a_uniform_one_too() {
    for gate in [GateKind::Linear, GateKind::Uniform, GateKind::None] {
        for position in [Position::Add, Position::Prepend, Position::Mix] {
            let (first, last, _) = overfit(gate, position);
            assert!(
                last < 0.97 * first,
                "{gate:?} {position:?}: {first} to {last}"
            );
        }
    }
}

#[test]
fn the_frozen_backbone_does_not_change() {
    let before = fingerprint(&collect(&backbone(&Device::flex()), public_key));
    let (_, _, model) = overfit(GateKind::Linear, Position::Add);
    assert_eq!(
        fingerprint(&collect(&model.backbone().valid(), public_key)),
        before
    );
}

#[test]
fn an_image_does_not_depend_on_its_batch() {
    let device = Device::flex();
    let model = backbone(&device);
    let diffusion = Diffusion::new(BetaSchedule::Linear, 1000)
        .respaced("5")
        .unwrap();
    let draw = |indices: std::ops::Range<u64>| {
        let labels: Vec<usize> = indices.clone().map(|i| i as usize % 3).collect();
        let request = SampleRequest {
            diffusion: &diffusion,
            method: Method::Ddpm,
            clip: true,
            labels: &labels,
        };
        let mut noise = ImageNoise::new(5, indices, model.layout(), &device);
        bits(sample(&model, &request, &mut noise, |_, _| true).unwrap())
    };
    assert_eq!(draw(0..5), [draw(0..2), draw(2..5)].concat());
}

/// The exact denoiser of images whose every value is N(0, s²): ε = x·√(1-ᾱ)/(ᾱs² + 1 - ᾱ).
struct Gaussian {
    variance: f32,
    diffusion: Diffusion,
}

impl Denoiser for Gaussian {
    fn predict(&self, x: Tensor<4>, timesteps: &[usize], _: &[usize]) -> Tensor<4> {
        let alpha = self.diffusion.alphas_cumprod()[timesteps[0]] as f32;
        x * ((1.0 - alpha).sqrt() / (alpha * self.variance + 1.0 - alpha))
    }

    fn layout(&self) -> ImageLayout {
        ImageLayout {
            channels: 1,
            height: 32,
            width: 32,
        }
    }

    fn learns_variance(&self) -> bool {
        false
    }

    fn null_label(&self) -> Option<usize> {
        None
    }
}

#[test]
fn samplers_recover_a_gaussian_from_its_exact_denoiser() {
    let device = Device::flex();
    let full = Diffusion::new(BetaSchedule::Linear, 1000);
    let model = Gaussian {
        variance: 0.25,
        diffusion: full.clone(),
    };
    for (method, spacing) in [
        (Method::Ddpm, "250"),
        (Method::Ddim { eta: 0.0 }, "ddim100"),
        (Method::Ddim { eta: 1.0 }, "ddim250"),
    ] {
        let diffusion = full.respaced(spacing).unwrap();
        let request = SampleRequest {
            diffusion: &diffusion,
            method,
            clip: false,
            labels: &[0; 8],
        };
        let mut noise = ImageNoise::new(0, 0..8, model.layout(), &device);
        let values = sample(&model, &request, &mut noise, |_, _| true)
            .unwrap()
            .into_data()
            .try_into_vec::<f32>()
            .unwrap();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.02, "{method:?}: mean {mean}");
        assert!(
            (variance / 0.25 - 1.0).abs() < 0.08,
            "{method:?}: variance {variance}"
        );
    }
}

#[test]
fn a_sampler_can_be_stopped() {
    let full = Diffusion::new(BetaSchedule::Linear, 1000);
    let model = Gaussian {
        variance: 0.25,
        diffusion: full.clone(),
    };
    let diffusion = full.respaced("10").unwrap();
    let request = SampleRequest {
        diffusion: &diffusion,
        method: Method::Ddpm,
        clip: false,
        labels: &[0],
    };
    let mut noise = ImageNoise::new(0, 0..1, model.layout(), &Device::flex());
    let mut steps = 0;
    let stopped = sample(&model, &request, &mut noise, |done, of| {
        steps = done;
        assert_eq!(of, 10);
        done < 3
    });
    assert!(stopped.is_none() && steps == 3);
}
