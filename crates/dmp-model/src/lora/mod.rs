//! LoRA: a low-rank change of frozen weights (Hu et al., arXiv 2106.09685), to compare a patch with.
//!
//! `y = W x + (alpha / rank)·B A x` for each adapted linear map: A `[r, in]` starts uniform, B `[out, r]` zero, so that the
//! first step equals the bare backbone to the bit. W stays as it is; [`Lora::join`] makes a backbone that computes with
//! the sum, in training at each step, for sampling once.

mod config;
mod join;
mod limited;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

pub use config::{LoraConfig, LoraConfigError, Target};
pub use limited::Limited;

use crate::init::{self, Initializer};

/// Low-rank changes of the linear maps of a transformer's blocks.
#[derive(Module, Debug)]
pub struct Lora {
    blocks: Vec<LoraBlock>,
    #[module(skip)]
    config: LoraConfig,
}

/// The changes of one block; none where a map is not adapted.
#[derive(Module, Debug)]
struct LoraBlock {
    qkv: Option<Factors>,
    proj: Option<Factors>,
    fc1: Option<Factors>,
    fc2: Option<Factors>,
}

impl LoraBlock {
    /// The factors there are.
    fn adapted(&mut self) -> impl Iterator<Item = &mut Factors> {
        let Self {
            qkv,
            proj,
            fc1,
            fc2,
        } = self;
        [qkv, proj, fc1, fc2].into_iter().flatten()
    }
}

/// The two factors of one change.
#[derive(Module, Debug)]
pub struct Factors {
    lora_a: Param<Tensor<2>>,
    lora_b: Param<Tensor<2>>,
}

impl Lora {
    /// A LoRA of zeros, for strict loading to fill.
    pub fn zeroed(config: &LoraConfig, device: &Device) -> Self {
        let factors = |target: Target| {
            let [inputs, outputs] = config.sizes(target);
            config.targets.contains(&target).then(|| Factors {
                lora_a: init::zeros([config.rank, inputs], device),
                lora_b: init::zeros([outputs, config.rank], device),
            })
        };
        Self {
            blocks: (0..config.depth)
                .map(|_| LoraBlock {
                    qkv: factors(Target::Qkv),
                    proj: factors(Target::Proj),
                    fc1: factors(Target::Fc1),
                    fc2: factors(Target::Fc2),
                })
                .collect(),
            config: config.clone(),
        }
    }

    /// As PEFT initialises it: A Kaiming-uniform with a = √5, which is U(−1/√in, 1/√in), and B zero.
    pub fn init(config: &LoraConfig, seed: u64, device: &Device) -> Self {
        let mut lora = Self::zeroed(config, device);
        let mut init = Initializer::new(seed, 2, device);
        for block in &mut lora.blocks {
            for Factors { lora_a, .. } in block.adapted() {
                let [rank, inputs] = lora_a.dims();
                *lora_a = init.uniform([rank, inputs], 1.0 / (inputs as f32).sqrt());
            }
        }
        lora
    }

    /// Sizes and choices of this LoRA.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// The same, acting at timesteps below this one only; at all of them for `None`. Those who join it see to that.
    ///
    /// # Errors
    /// A limit that leaves no timestep, or is beyond any.
    pub fn acting_below(mut self, below: Option<usize>) -> Result<Self, LoraConfigError> {
        self.config.patch_below = below;
        self.config.check()?;
        Ok(self)
    }

    /// The same with changes `scale` times as large.
    pub fn scaled(mut self, scale: f64) -> Self {
        for block in &mut self.blocks {
            for Factors { lora_b, .. } in block.adapted() {
                *lora_b = lora_b.clone().map(|b| b.mul_scalar(scale));
            }
        }
        self
    }

    /// The factors of a map in a block, if it is adapted.
    pub fn factors(&self, block: usize, target: Target) -> Option<&Factors> {
        let block = self.blocks.get(block)?;
        match target {
            Target::Qkv => &block.qkv,
            Target::Proj => &block.proj,
            Target::Fc1 => &block.fc1,
            Target::Fc2 => &block.fc2,
        }
        .as_ref()
    }

    /// Every adapted map: its block and which it is.
    pub fn modules(&self) -> impl Iterator<Item = (usize, Target)> {
        let targets = &self.config.targets;
        (0..self.config.depth).flat_map(|block| targets.iter().map(move |&target| (block, target)))
    }
}

impl Factors {
    /// A, `[r, in]`.
    pub fn a(&self) -> Tensor<2> {
        self.lora_a.val()
    }

    /// B, `[out, r]`.
    pub fn b(&self) -> Tensor<2> {
        self.lora_b.val()
    }

    /// What is added to the weight as burn keeps it: `scale·(B A)ᵀ`, `[in, out]`.
    pub fn change(&self, scale: f64) -> Tensor<2> {
        self.a()
            .transpose()
            .matmul(self.b().transpose().mul_scalar(scale))
    }
}

/// What PEFT puts before the name of a module.
const PREFIX: &str = "base_model.model";

/// The key of a parameter path of ours in a file, as PEFT names it for the public DiT's modules: `blocks.0.qkv.lora_a` →
/// `base_model.model.blocks.0.attn.qkv.lora_A.weight`.
pub fn public_key(path: &str) -> String {
    let path = Target::ALL.iter().fold(path.to_owned(), |path, target| {
        let (ours, theirs) = (target.name(), target.path());
        path.replace(&format!(".{ours}."), &format!(".{theirs}."))
    });
    let path = path
        .replace("lora_a", "lora_A.weight")
        .replace("lora_b", "lora_B.weight");
    format!("{PREFIX}.{path}")
}

/// The key of the timestep below which it acts, in a file of one that does not at all of them.
pub const LIMIT_KEY: &str = "dmp.patch_below";

/// The key of a map's alpha in a file, `base_model.model.blocks.0.attn.qkv.alpha`. PEFT itself keeps it elsewhere.
pub fn alpha_key(block: usize, target: Target) -> String {
    format!("{PREFIX}.{}.alpha", target.module(block))
}
