//! `dmp convert`: patches between this program's files and the public code's checkpoints, LoRAs between them and PEFT's.

mod peft;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use clap::{Args, ValueEnum};
use dmp_math::schedule::BetaSchedule;
use dmp_model::checkpoint::torch::TorchFile;
use dmp_model::checkpoint::{
    BackboneFile, PatchMetadata, PublicPatch, PublicSettings, collect, patch_bytes, public_bytes,
};
use dmp_model::denoiser::Backbone;
use dmp_model::dit::public_key;
use dmp_model::patch::Position;

use crate::flags;
use crate::models::{
    Addition, addition_path, is_addition, open_addition, open_backbone, peft_folder, schedule_of,
};
use crate::output::{check_target, refuse_replacing, say, write_atomic};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PositionName {
    Add,
    Prepend,
}

/// Turn a checkpoint of the method's public PyTorch code into a patch, or a patch into such a checkpoint; a LoRA of PEFT's
/// into one of this program's, or back
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  dmp convert 0050000.pt --model dit-l-2.pt --out patch.safetensors\n  \
                  dmp convert runs/patch --model dit-l-2.pt --out 0000001.pt\n  \
                  dmp convert runs/lora --model dit-l-2.pt --out adapter/adapter_model.safetensors"
)]
pub struct ConvertArgs {
    /// A checkpoint of the public code (.pt), a patch or a LoRA: its file or its run directory; or the folder of a LoRA that
    /// PEFT saved
    input: PathBuf,
    /// Its backbone: 'demo', a .safetensors or .pt file, a run directory, a folder that diffusers wrote, or owner/name
    /// on the hub
    #[arg(long, default_value = "demo")]
    model: String,
    /// File to write: .safetensors for a patch or a LoRA, .pt for a checkpoint of the public code,
    /// adapter_model.safetensors (and adapter_config.json beside it) for PEFT
    #[arg(long)]
    out: PathBuf,
    /// Where a checkpoint's prompts go [default: what it says, or add if there is one prompt a token]
    #[arg(long, value_enum)]
    position: Option<PositionName>,
    /// Share of prompts its gate selects [default: what it says, or 1]
    #[arg(long, value_parser = flags::share)]
    top_k: Option<f64>,
    /// Noise schedule it was trained with, linear or squaredcos_cap_v2 [default: what it says]
    #[arg(long)]
    schedule: Option<BetaSchedule>,
}

/// Runs the command.
pub fn convert(args: &ConvertArgs, device: &Device) -> Result<()> {
    check_target(&args.out)?;
    refuse_replacing("--out", &args.out, &addition_path(&args.input))?;
    let ending = args.out.extension().and_then(|ending| ending.to_str());
    if peft::is_target(&args.out) {
        peft::write(args, device)?;
        return Ok(say(args.out.display())?);
    }
    let bytes = match (ending, peft_folder(&args.input)) {
        (Some("safetensors"), Some(folder)) => peft::from(&folder, args, device)?,
        (Some("safetensors"), None) => to_patch(args, device)?,
        (Some("pt"), _) => to_public(args, device)?,
        _ => bail!(
            "--out {}: a patch is a .safetensors and a checkpoint of the public code a .pt; give a name that ends so",
            args.out.display()
        ),
    };
    write_atomic(&args.out, &bytes)?;
    say(args.out.display())?;
    Ok(())
}

fn to_patch(args: &ConvertArgs, device: &Device) -> Result<Vec<u8>> {
    let shown = args.input.display();
    ensure!(
        !is_addition(&args.input),
        "{shown}: is a .safetensors of this program already; give --out a name that ends in .pt for the public code, or, of a \
         LoRA, adapter_model.safetensors for PEFT"
    );
    let bytes = fs::read(&args.input).with_context(|| {
        format!("{shown}: cannot be read; give a checkpoint of the public code")
    })?;
    ensure!(
        TorchFile::is_one(&bytes),
        "{shown}: is no PyTorch file; to make one of a patch give --out a name that ends in .pt"
    );
    let file = PublicPatch::from_bytes(bytes).with_context(|| shown.to_string())?;
    let backbone = open_backbone(&args.model, device)?;
    let given = collect(&backbone.model, public_key);
    file.check_backbone(&given)
        .with_context(|| shown.to_string())?;
    if file.backbone.is_empty() {
        crate::tell!(
            "note: {shown} holds no backbone, so that it cannot be compared with {}",
            args.model
        );
    }
    let settings = PublicSettings {
        position: args.position.map_or(file.settings.position, |position| {
            Some(match position {
                PositionName::Add => Position::Add,
                PositionName::Prepend => Position::Prepend,
            })
        }),
        top_k: args.top_k.or(file.settings.top_k),
        schedule: args.schedule.or(file.settings.schedule),
    };
    let metadata = metadata("DMP patch", args, &backbone, settings.schedule)?;
    let patch = file
        .patch(backbone.model.num_tokens(), settings, device)
        .with_context(|| shown.to_string())?;
    let config = backbone.model.config();
    patch
        .config()
        .validate(config.num_tokens(), config.hidden_size, config.depth)?;
    Ok(patch_bytes(&patch, &metadata)?)
}

/// What the file is to say of itself; `said` is the schedule that the input names.
fn metadata(
    kind: &str,
    args: &ConvertArgs,
    backbone: &BackboneFile,
    said: Option<BetaSchedule>,
) -> Result<PatchMetadata> {
    let shown = args.input.display();
    let said = args.schedule.or(said);
    ensure!(
        said.or(backbone.schedule).is_some(),
        "{shown}: does not say its noise schedule; give --schedule linear or squaredcos_cap_v2"
    );
    // What the backbone was trained with, where it says so.
    let schedule = schedule_of(backbone.schedule, said).with_context(|| shown.to_string())?;
    Ok(PatchMetadata {
        base_sha256: backbone.fingerprint.clone(),
        schedule,
        architecture: "dit".to_owned(),
        title: format!("{kind} of {}", args.model),
        resolution: format!("{0}x{0}", backbone.model.config().input_size),
        date: crate::today(),
    })
}

/// Refuses what is said of an input that says it itself.
fn refuse_settings(args: &ConvertArgs) -> Result<()> {
    let flag = flags::first_given(&[
        ("--position", args.position.is_some()),
        ("--top-k", args.top_k.is_some()),
        ("--schedule", args.schedule.is_some()),
    ]);
    if let Some(flag) = flag {
        bail!("{flag} is for a checkpoint that does not say it; a patch does, so leave it out");
    }
    Ok(())
}

fn to_public(args: &ConvertArgs, device: &Device) -> Result<Vec<u8>> {
    refuse_settings(args)?;
    let shown = || format!("patch {}", args.input.display());
    let file = match open_addition(&args.input, device)? {
        Addition::Patch(file) => file,
        _ => bail!("{}: the public code knows patches alone; give one", shown()),
    };
    let backbone = open_backbone(&args.model, device)?;
    file.metadata
        .check_backbone(&backbone.fingerprint)
        .with_context(shown)?;
    let tensors = collect(&backbone.model, public_key);
    public_bytes(&file.patch, tensors, file.metadata.schedule).with_context(shown)
}
