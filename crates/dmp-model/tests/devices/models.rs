//! Training and sampling where the golden cases have none: mixtures, top-k with the other balance terms, all weights,
//! guidance over noise by image.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use dmp_math::diffusion::Diffusion;
use dmp_math::schedule::BetaSchedule;
use dmp_math::seed::{Purpose, stream};
use dmp_math::timesteps::Timesteps;
use dmp_math::weight::LossWeight;
use dmp_model::checkpoint::{Tensors, apply, collect, fingerprint};
use dmp_model::denoiser::ImageLayout;
use dmp_model::dit::{Dit, DitConfig, public_key};
use dmp_model::host;
use dmp_model::loss::NoisedBatch;
use dmp_model::patch::{BalanceForm, BalanceLoss, GateNoise, Init, Patch, PatchConfig, Position};
use dmp_model::patched::Patched;
use dmp_model::sampler::{Guided, GuidedChannels, ImageNoise, Method, SampleRequest, sample};
use dmp_model::train::{Ema, Objective, PatchOptimizer, PatchRates, WholeOptimizer};

const CONFIG: DitConfig = DitConfig {
    input_size: 8,
    patch_size: 2,
    in_channels: 1,
    hidden_size: 16,
    depth: 2,
    num_heads: 2,
    mlp_ratio: 4.0,
    learn_sigma: true,
    num_classes: 3,
    class_dropout_prob: 0.1,
};

/// A backbone whose every parameter is random.
fn backbone(device: &Device) -> Dit {
    let empty = Dit::zeroed(&CONFIG, device);
    let mut tensors = collect(&empty, public_key);
    for (index, tensor) in tensors.values_mut().enumerate() {
        stream(7, Purpose::Init, index as u64).fill_normal(&mut tensor.values);
        tensor.values.iter_mut().for_each(|value| *value *= 0.2);
    }
    apply(empty, tensors, public_key).unwrap()
}

/// A mixture of 6 prompts of which 3 are taken, prompts and gate random.
fn mixture(device: &Device) -> Patch {
    let config = PatchConfig {
        position: Position::Mix,
        top_k: 0.5,
        init: Init::Random,
        num_prompts: 6,
        prompt_tokens: CONFIG.num_tokens(),
        ..PatchConfig::paper(CONFIG.num_tokens(), CONFIG.hidden_size, CONFIG.depth)
    };
    Patch::init(&config, 3, device)
}

fn noise<const D: usize>(shape: [usize; D], index: u64, device: &Device) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    stream(1, Purpose::Noise, index).fill_normal(&mut values);
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Four images, one of them at step 0, where the bound is another.
fn batch(device: &Device) -> (NoisedBatch, [usize; 4]) {
    let batch = NoisedBatch {
        x_start: noise([4, 1, 8, 8], 0, device).tanh(),
        noise: noise([4, 1, 8, 8], 1, device),
        steps: vec![0, 30, 400, 999],
        target: None,
    };
    (batch, [0, 1, 3, 2])
}

fn objective() -> Objective {
    let diffusion = Diffusion::new(BetaSchedule::Linear, 1000);
    Objective {
        draw: Timesteps::Importance.over(&diffusion),
        diffusion,
        weight: LossWeight::MinSnr { gamma: 5.0 },
        balance: BalanceLoss {
            form: BalanceForm::Shazeer,
            importance: 0.1,
            load: 0.1,
        },
    }
}

/// Gradients by parameter, in the module's order.
fn gradients_of(module: &impl Module, gradients: &GradientsParams) -> Vec<(String, Vec<f32>)> {
    struct Named<'a>(&'a GradientsParams, Vec<(String, Vec<f32>)>);
    impl ModuleVisitor for Named<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                let name = format!("gradient {}, {:?}", self.1.len(), gradient.dims());
                self.1.push((name, host::values(gradient)));
            }
        }
    }
    let mut named = Named(gradients, Vec::new());
    module.visit(&mut named);
    named.1
}

/// A gradient drawn for every parameter. One that is computed may be 0 but for rounding, of whose sign AdamW makes a whole
/// step; so steps are compared with these.
fn drawn_gradients(module: &impl Module, device: &Device) -> GradientsParams {
    struct Drawn<'a>(GradientsParams, u64, &'a Device);
    impl ModuleVisitor for Drawn<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1 += 1;
            let gradient = noise::<D>(param.val().dims(), self.1, self.2);
            self.0.register(param.id, gradient);
        }
    }
    let mut drawn = Drawn(GradientsParams::new(), 100, device);
    module.visit(&mut drawn);
    drawn.0
}

/// Values by parameter, those that are nothing but 0 left out.
fn named(what: &str, tensors: Tensors) -> impl Iterator<Item = (String, Vec<f32>)> {
    tensors
        .into_iter()
        .filter(|(_, tensor)| tensor.values.iter().any(|value| *value != 0.0))
        .map(move |(name, tensor)| (format!("{what} {name}"), tensor.values))
}

#[test]
fn a_step_of_a_patch() {
    crate::agrees_with_the_cpu(1e-4, |inner| {
        let device = inner.clone().autodiff();
        let model = Patched::new(backbone(&device).no_grad(), mixture(&device)).unwrap();
        let (batch, labels) = batch(&device);
        let gate_noise = GateNoise(noise([CONFIG.depth, 4, 6], 2, &device));
        let loss = objective().patched(&model, &batch, &labels, Some(&gate_noise));
        let mut found = vec![("loss".to_owned(), host::values(loss.total.clone()))];
        let gradients = GradientsParams::from_grads(loss.total.backward(), model.patch());
        found.extend(gradients_of(model.patch(), &gradients));
        assert_eq!(
            found.len(),
            1 + CONFIG.depth + 3,
            "prompts, gate, bias, noise weights"
        );
        let rates = PatchRates {
            prompts: 1e-2,
            gate: Some(1e-2),
        };
        let (patch, norm) = PatchOptimizer::default().step(
            model.patch().clone(),
            vec![drawn_gradients(model.patch(), inner)],
            rates,
            Some(0.1),
        );
        found.push(("norm".to_owned(), vec![norm.0 as f32]));
        found.extend(named("stepped", collect(&patch.valid(), str::to_owned)));
        found
    });
}

#[test]
fn a_step_of_all_weights() {
    crate::agrees_with_the_cpu(1e-4, |inner| {
        let device = inner.clone().autodiff();
        let model = backbone(&device);
        let (batch, labels) = batch(&device);
        let loss = objective().bare(&model, &batch, &labels);
        let gradients = GradientsParams::from_grads(loss.total.backward(), &model);
        let mut found = gradients_of(&model, &gradients);
        assert!(found.len() > 20, "{}", found.len());
        let mut average = Ema::new(model.clone(), 0.9, 0);
        let drawn = vec![drawn_gradients(&model, inner)];
        let (model, _) = WholeOptimizer::new(0.01).step(model, drawn, 1e-3, None);
        average.update(&model);
        found.extend(named("stepped", collect(&model.valid(), public_key)));
        found.extend(named(
            "stepped average",
            collect(average.average(), public_key),
        ));
        found
    });
}

#[test]
fn guided_samples() {
    crate::agrees_with_the_cpu(1e-3, |device| {
        let model = Patched::new(backbone(device), mixture(device)).unwrap();
        let guided = Guided::new(&model, 2.0, GuidedChannels::All).unwrap();
        let diffusion = Diffusion::new(BetaSchedule::Linear, 1000);
        let layout = ImageLayout {
            channels: 1,
            height: 8,
            width: 8,
        };
        [Method::Ddpm, Method::Ddim { eta: 0.5 }]
            .into_iter()
            .map(|method| {
                let request = SampleRequest {
                    diffusion: &diffusion.respaced("4").unwrap(),
                    method,
                    clip: true,
                    labels: &[0, 1],
                };
                let mut noise = ImageNoise::new(9, 0..2, layout, device);
                let images = sample(&guided, &request, &mut noise, |_, _| true).unwrap();
                (format!("{method:?}"), host::values(images))
            })
            .collect()
    });
}

/// What goes to the device comes back as it was: a backbone is known by the bytes of its weights.
#[test]
fn weights_keep_every_bit() {
    let here = collect(&backbone(&crate::device()), public_key);
    let cpu = collect(&backbone(&Device::flex()), public_key);
    assert_eq!(fingerprint(&here), fingerprint(&cpu));
}
