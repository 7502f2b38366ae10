//! How fast a model computes here: a forward pass and a training step of a patch, and the memory they take.

use std::time::Instant;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use dmp_math::schedule::BetaSchedule;
use dmp_math::seed::{Purpose, stream};
use dmp_model::checkpoint::BackboneFile;
use dmp_model::denoiser::Denoiser;
use dmp_model::dit::{Dit, DitConfig};
use dmp_model::fused::Checkpointing;
use dmp_model::fused::profile::{self, Spent};
use dmp_model::patch::{BalanceLoss, Patch, PatchConfig};
use dmp_model::patched::Patched;

use crate::compute::Dtype;
use crate::data::{Dataset, ImageShape};
use crate::models::Model;
use crate::run::{Interrupt, Interrupted, Prefetch, Trainee, Workers};
use crate::sampling::{Sampling, SamplingArgs};
use crate::train::{Decay, PatchSettings, PatchTrainee};

/// Steps of the sampler that is timed.
const SAMPLER_STEPS: u16 = 4;

/// Runs before the first one that counts.
const WARM_UP: usize = 2;

/// What is timed.
pub struct Bench {
    /// The backbone.
    pub config: DitConfig,
    /// Number type of the backbone's products.
    pub dtype: Dtype,
    /// What a step's backward pass computes anew.
    pub checkpointing: Checkpointing,
    /// Images at a time.
    pub batch: usize,
    /// Runs that count; the median is given.
    pub reps: usize,
}

/// Median seconds of what needs no gradients, for a batch.
pub struct Inference {
    /// A forward pass of the patched model.
    pub forward: f64,
    /// A step of DDPM: the forward pass and what is made of it.
    pub sampler_step: f64,
}

/// What the kernels took of some training steps.
pub struct Profile {
    /// Each kernel's, the longest first.
    pub kernels: Vec<Spent>,
    /// Steps.
    pub steps: usize,
    /// Time of all threads, busy or not.
    pub seconds: f64,
}

impl Profile {
    /// Name, calls a step, seconds a step and share of all threads' time, of each kernel and of what is none.
    pub fn rows(&self) -> Vec<(&'static str, Option<f64>, f64, f64)> {
        let steps = self.steps.max(1) as f64;
        let in_kernels: f64 = self.kernels.iter().map(|k| k.time.as_secs_f64()).sum();
        let kernels = self.kernels.iter().map(|k| {
            let seconds = k.time.as_secs_f64();
            (k.kernel, Some(k.calls as f64 / steps), seconds)
        });
        kernels
            .chain([("elsewhere", None, (self.seconds - in_kernels).max(0.0))])
            .map(|(name, calls, seconds)| (name, calls, seconds / steps, seconds / self.seconds))
            .collect()
    }
}

impl Bench {
    /// What is drawn from: a backbone and the paper's patch.
    fn model(&self, device: &Device) -> Result<Patched<Dit>> {
        let mut backbone = Dit::init(&self.config, 0, device);
        self.dtype.pack_weights(&mut backbone, device)?;
        Ok(Patched::new(
            backbone,
            Patch::zeroed(&self.patch(), device),
        )?)
    }

    /// Medians without gradients, the batch's images shared out over the cores.
    pub fn inference(&self, device: &Device) -> Result<Inference> {
        let model = self.model(device)?;
        Ok(Inference {
            forward: self.forward(&model, device)?,
            sampler_step: self.sampler_step(model, device)?,
        })
    }

    fn sampler_step(&self, model: Patched<Dit>, device: &Device) -> Result<f64> {
        let model = Model::joined(model, BetaSchedule::Linear);
        let args = SamplingArgs {
            count: self.batch,
            sampling_steps: SAMPLER_STEPS.to_string(),
            dtype: self.dtype,
            ..SamplingArgs::default()
        };
        let seconds = self.median(|| {
            Sampling::new(&model, &args, device)?.try_for_each(|batch| batch.map(drop))
        })?;
        Ok(seconds / f64::from(SAMPLER_STEPS))
    }

    fn forward(&self, model: &Patched<Dit>, device: &Device) -> Result<f64> {
        let workers = Workers::on(device)?;
        let share = self.batch.div_ceil(workers.count());
        let parts: Vec<Tensor<4>> = (0..self.batch)
            .step_by(share)
            .map(|first| self.noise(share.min(self.batch - first), device))
            .collect();
        self.median(|| {
            let work = parts.iter().map(|x| (model.clone(), x.clone())).collect();
            workers.map(work, |(model, x)| {
                let images = x.dims()[0];
                // Reading the values back is what makes sure that they have been computed.
                dmp_model::host::values(model.predict(x, &vec![500; images], &vec![0; images]))
                    .len()
            });
            Ok(())
        })
    }

    /// Median seconds of a training step of the paper's patch: forward, backward to prompts and gate, AdamW.
    pub fn step(&self, device: &Device) -> Result<f64> {
        let step = self.stepper(device)?;
        self.median(step)
    }

    /// What the kernels take of such steps.
    pub fn profile(&self, device: &Device) -> Result<Profile> {
        let mut step = self.stepper(device)?;
        (0..WARM_UP).try_for_each(|_| step())?;
        profile::start();
        let since = Instant::now();
        let done = (0..self.reps).try_for_each(|_| step());
        let wall = since.elapsed();
        let kernels = profile::stop();
        done?;
        Ok(Profile {
            kernels,
            steps: self.reps,
            seconds: wall.as_secs_f64() * rayon::current_num_threads() as f64,
        })
    }

    /// A training step, each time another batch.
    fn stepper(&self, device: &Device) -> Result<impl FnMut() -> Result<()> + use<>> {
        let mut model = Dit::init(&self.config, 0, &device.clone().autodiff()).no_grad();
        model.set_checkpointing(self.checkpointing);
        let backbone = BackboneFile {
            // Of a model that is in no file.
            fingerprint: String::new(),
            model,
            schedule: None,
        };
        let settings = self.settings();
        let draws = settings.draw_plan(backbone.model.null_label(), self.config.num_classes);
        let mut trainee = PatchTrainee::new(&settings, backbone, None, device)?;
        let mut batches = Prefetch::start(draws, self.images()?, 0..u64::MAX)?.enumerate();
        Ok(move || {
            if let Some((step, batch)) = batches.next() {
                trainee.step(step as u64, &batch)?;
            }
            Ok(())
        })
    }

    fn median(&self, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
        let mut seconds = Vec::with_capacity(self.reps);
        let interrupt = Interrupt::listen();
        for run in 0..WARM_UP + self.reps {
            if interrupt.asked() {
                return Err(Interrupted("stopped before the figures were done".to_owned()).into());
            }
            let since = Instant::now();
            work()?;
            if run >= WARM_UP {
                seconds.push(since.elapsed().as_secs_f64());
            }
        }
        seconds.sort_by(f64::total_cmp);
        let middle = seconds.len() / 2;
        Ok(if seconds.len().is_multiple_of(2) {
            0.5 * (seconds[middle - 1] + seconds[middle])
        } else {
            seconds[middle]
        })
    }

    fn patch(&self) -> PatchConfig {
        let c = &self.config;
        PatchConfig::paper(c.num_tokens(), c.hidden_size, c.depth)
    }

    fn settings(&self) -> PatchSettings {
        PatchSettings {
            model: "bench".to_owned(),
            model_sha256: String::new(),
            data: "noise".to_owned(),
            data_sha256: String::new(),
            class: None,
            seed: 0,
            steps: u64::MAX,
            batch: self.batch,
            prompt_rate: 1e-4,
            gate_rate: 1e-3,
            gate_after: 0,
            warmup: 0,
            decay: Decay::Constant,
            ema_decay: 0.0,
            flip: false,
            label_dropout: self.config.class_dropout_prob,
            clip_norm: None,
            accumulate: 1,
            schedule: Default::default(),
            loss_weight: Default::default(),
            timesteps: Default::default(),
            stable_targets: None,
            gate_noise: true,
            dtype: self.dtype,
            balance: BalanceLoss::default(),
            patch: self.patch(),
        }
    }

    fn shape(&self) -> ImageShape {
        ImageShape {
            channels: self.config.in_channels,
            height: self.config.input_size,
            width: self.config.input_size,
        }
    }

    fn noise(&self, images: usize, device: &Device) -> Tensor<4> {
        let shape = self.shape();
        let mut values = vec![0.0; images * shape.len()];
        stream(0, Purpose::Noise, 0).fill_normal(&mut values);
        let shape = [images, shape.channels, shape.height, shape.width];
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// As many images as a batch; what they show does not matter.
    fn images(&self) -> Result<Dataset> {
        let shape = self.shape();
        let pixels = (0..self.batch * shape.len()).map(|i| (i * 31 % 251) as u8);
        Ok(Dataset::new(
            pixels.collect(),
            vec![0; self.batch],
            shape,
            self.config.num_classes,
        )?)
    }
}

/// The most memory this process has held, in bytes, where the system says (Linux).
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024 * kib)
}
