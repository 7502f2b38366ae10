//! The checkpoints of the method's public code (github sangminwoo/DMP): `{model, opt, config, …}`, whose `model` is the backbone and
//! the patch in one state dictionary: `prompt_embeddings` `[L, N, D]`, `gate.weight`, `gate.bias` and `w_noise`.

mod settings;

use burn::tensor::Device;
use dmp_math::schedule::BetaSchedule;

use super::torch::{TorchError, TorchFile, Value, to_bytes};
use super::{CheckpointError, HostTensor, Tensors, apply, check_finite, collect};
use crate::patch::{GateInput, GateKind, GateSharing, Patch, PatchConfig, Position};

pub use settings::PublicSettings;
use settings::{Unknown, settings};

/// Why a patch cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum PublicError {
    /// Not a PyTorch file.
    #[error(transparent)]
    Torch(#[from] TorchError),
    /// No such checkpoint.
    #[error(
        "there is no tensor 'prompt_embeddings' [blocks, prompts, width] in it; give a checkpoint of the public code's train.py"
    )]
    NoPrompts,
    /// The backbone inside is another.
    #[error(
        "its backbone is not the one given: '{name}' differs; give the backbone it was trained on"
    )]
    Backbone {
        /// A tensor that differs, or is in one of them only.
        name: String,
    },
    /// Its configuration says something that this program does not know.
    #[error("its configuration says {key} = '{value}', which is not known here{mend}")]
    Setting {
        /// Which setting.
        key: &'static str,
        /// What it says.
        value: String,
        /// What to do about it.
        mend: &'static str,
    },
    /// What the public code does not have.
    #[error("the public code knows no {what}; only patches of the paper's form can be converted")]
    Form {
        /// What the patch has.
        what: &'static str,
    },
    /// The tensors make no patch.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The file cannot be written.
    #[error("the file cannot be made: {0}")]
    Write(#[from] std::io::Error),
}

/// A patch in a checkpoint of the public code, and the rest of it.
pub struct PublicPatch {
    patch: Tensors,
    /// The backbone's tensors under their public names; empty where there is only a patch.
    pub backbone: Tensors,
    /// What its configuration says.
    pub settings: PublicSettings,
    /// What it says and is not understood.
    unknown: Unknown,
}

const PROMPTS: &str = "prompt_embeddings";
const GATE: [&str; 3] = ["gate.weight", "gate.bias", "w_noise"];

impl PublicPatch {
    /// Parses a checkpoint; no code in it is run.
    ///
    /// # Errors
    /// When it is no PyTorch file, or has no prompts.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, PublicError> {
        let file = TorchFile::from_bytes(bytes)?;
        let has_model = file.names().iter().any(|name| name == "model");
        let tensors = file.unwrapped(has_model.then_some("model"))?;
        let (mut patch, mut backbone) = (Tensors::new(), Tensors::new());
        for (name, tensor) in tensors {
            let of = match name == PROMPTS || GATE.contains(&name.as_str()) {
                true => &mut patch,
                false => &mut backbone,
            };
            of.insert(name, tensor);
        }
        if patch
            .get(PROMPTS)
            .is_none_or(|prompts| prompts.shape.len() != 3)
        {
            return Err(PublicError::NoPrompts);
        }
        let (settings, unknown) = settings(&file);
        Ok(Self {
            patch,
            backbone,
            settings,
            unknown,
        })
    }

    /// Refuses any backbone but the one inside, if there is one.
    ///
    /// # Errors
    /// Names a tensor that differs.
    pub fn check_backbone(&self, given: &Tensors) -> Result<(), PublicError> {
        if self.backbone.is_empty() {
            return Ok(());
        }
        let mut names = given.keys().chain(self.backbone.keys());
        match names.find(|name| given.get(*name) != self.backbone.get(*name)) {
            None => Ok(()),
            Some(name) => Err(PublicError::Backbone { name: name.clone() }),
        }
    }

    /// The patch, for a backbone of so many tokens. What the checkpoint does not say is as the public code has it: prompts are added
    /// if there is one a token, the gate then looks at timestep and label, and else at the timestep.
    ///
    /// # Errors
    /// Tensors that are missing or misshapen, and what its configuration says, `settings` do not, and is not known.
    pub fn patch(
        &self,
        tokens: usize,
        settings: PublicSettings,
        device: &Device,
    ) -> Result<Patch, PublicError> {
        self.unknown.check(&settings)?;
        let mut tensors = self.patch.clone();
        let prompts = tensors.remove(PROMPTS).ok_or(PublicError::NoPrompts)?;
        let &[depth, num_prompts, hidden_size] = prompts.shape.as_slice() else {
            return Err(PublicError::NoPrompts);
        };
        let position = settings.position.unwrap_or(match num_prompts == tokens {
            true => Position::Add,
            false => Position::Prepend,
        });
        let config = PatchConfig {
            position,
            gate: match tensors.is_empty() {
                true => GateKind::None,
                false => GateKind::Linear,
            },
            gate_input: match position {
                Position::Add => GateInput::Conditioning,
                _ => GateInput::Timestep,
            },
            top_k: settings.top_k.unwrap_or(1.0),
            ..PatchConfig::paper(num_prompts, hidden_size, depth)
        };
        config
            .validate(tokens, hidden_size, depth)
            .map_err(CheckpointError::from)?;
        let one = num_prompts * hidden_size;
        for (block, values) in prompts.values.chunks(one.max(1)).enumerate() {
            let tensor = HostTensor {
                shape: vec![num_prompts, hidden_size],
                values: values.to_vec(),
            };
            tensors.insert(format!("prompts.{block}"), tensor);
        }
        check_finite(&tensors)?;
        let empty = Patch::zeroed(&config, device);
        Ok(apply(empty, tensors, str::to_owned).map_err(CheckpointError::from)?)
    }
}

/// A checkpoint of the public code: the backbone's tensors (under public names) and the patch's in one state dictionary, and what
/// its programs read of the configuration.
///
/// # Errors
/// A patch of another form than the paper's.
pub fn public_bytes(
    patch: &Patch,
    backbone: Tensors,
    schedule: BetaSchedule,
) -> Result<Vec<u8>, PublicError> {
    let config = patch.config();
    refuse_other_forms(config)?;
    let mut model = backbone;
    let mut prompts = HostTensor {
        shape: vec![config.depth, config.num_prompts, config.hidden_size],
        values: Vec::new(),
    };
    let mut tensors = collect(patch, str::to_owned);
    for block in 0..config.depth {
        let block = tensors.remove(&format!("prompts.{block}"));
        prompts
            .values
            .extend(block.map(|tensor| tensor.values).unwrap_or_default());
    }
    model.insert(PROMPTS.to_owned(), prompts);
    model.extend(tensors);
    let text = |text: &str| Value::Text(text.to_owned());
    let vp = vec![
        (
            "num_tokens".to_owned(),
            Value::Int(config.num_prompts as i32),
        ),
        ("topk".to_owned(), Value::Float(config.top_k)),
        (
            "type".to_owned(),
            text(match config.position {
                Position::Prepend => "prepend",
                _ => "add",
            }),
        ),
        (
            "gate_type".to_owned(),
            text(match config.gate {
                GateKind::None => "PT",
                _ => "linear",
            }),
        ),
        ("pt_depth".to_owned(), Value::Int(config.depth as i32)),
    ];
    let general = vec![(
        "schedule_name".to_owned(),
        text(match schedule {
            BetaSchedule::Linear => "linear",
            BetaSchedule::SquaredCosine => "cosine",
        }),
    )];
    let models = vec![("vp".to_owned(), Value::Dict(vp))];
    Ok(to_bytes(vec![
        ("model".to_owned(), Value::Tensors(model)),
        (
            "config".to_owned(),
            Value::Dict(vec![
                ("models".to_owned(), Value::Dict(models)),
                ("general".to_owned(), Value::Dict(general)),
            ]),
        ),
    ])?)
}

fn refuse_other_forms(config: &PatchConfig) -> Result<(), PublicError> {
    let input = match config.position {
        Position::Add => GateInput::Conditioning,
        _ => GateInput::Timestep,
    };
    let others = [
        (
            !matches!(config.position, Position::Add | Position::Prepend),
            "such position of prompts",
        ),
        (
            !matches!(config.gate, GateKind::Linear | GateKind::None),
            "such gate",
        ),
        (
            config.gate_sharing != GateSharing::Shared,
            "gates of each block",
        ),
        (config.temperature != 1.0, "temperature"),
        (config.prompt_rank > 0, "prompts of low rank"),
        (config.grid.is_some(), "grid of prompts"),
        (config.patch_below.is_some(), "limit to some timesteps"),
        (
            config.gate.learns() && config.gate_input != input,
            "such input of the gate with this position",
        ),
    ];
    match others.into_iter().find(|(other, _)| *other) {
        Some((_, what)) => Err(PublicError::Form { what }),
        None => Ok(()),
    }
}
