//! LoRAs from and to the two files that PEFT keeps one in.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use dmp_model::checkpoint::{TensorFile, from_peft, lora_bytes, peft_files};

use super::{ConvertArgs, metadata, refuse_settings};
use crate::flags::first_given;
use crate::models::{
    Addition, PEFT_CONFIG as CONFIG, PEFT_TENSORS as TENSORS, open_addition, open_backbone,
};
use crate::output::write_atomic;

/// Whether what is to be written is PEFT's.
pub(super) fn is_target(out: &Path) -> bool {
    out.file_name().is_some_and(|name| name == TENSORS)
}

/// The file of a LoRA that PEFT wrote.
pub(super) fn from(folder: &Path, args: &ConvertArgs, device: &Device) -> Result<Vec<u8>> {
    let flag = first_given(&[
        ("--position", args.position.is_some()),
        ("--top-k", args.top_k.is_some()),
    ]);
    if let Some(flag) = flag {
        bail!("{flag} is of a patch, and this is a LoRA; leave it out");
    }
    let shown = || folder.display().to_string();
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read(&path).with_context(|| format!("{}: cannot be read", path.display()))
    };
    let config = String::from_utf8(read(CONFIG)?).with_context(shown)?;
    let file = TensorFile::from_bytes(&read(TENSORS)?).with_context(shown)?;
    let backbone = open_backbone(&args.model, device)?;
    let lora = from_peft(&config, file, backbone.model.config(), device).with_context(shown)?;
    let metadata = metadata("LoRA", args, &backbone, None)?;
    crate::tell!(
        "note: PEFT's files do not say which backbone they are of; this one is now of {}",
        args.model
    );
    Ok(lora_bytes(&lora, &metadata)?)
}

/// Writes a LoRA of ours as PEFT's two files.
pub(super) fn write(args: &ConvertArgs, device: &Device) -> Result<()> {
    refuse_settings(args)?;
    let file = match open_addition(&args.input, device)? {
        Addition::Lora(file) => file,
        _ => bail!(
            "patch {}: PEFT knows LoRAs alone; give one, or --out another name",
            args.input.display()
        ),
    };
    let backbone = open_backbone(&args.model, device)?;
    (file.metadata.check_backbone(&backbone.fingerprint))
        .with_context(|| format!("patch {}", args.input.display()))?;
    let (config, tensors) = peft_files(&file.lora)?;
    write_atomic(&args.out.with_file_name(CONFIG), config.as_bytes())?;
    write_atomic(&args.out, &tensors)?;
    if let Some(below) = file.lora.config().patch_below {
        crate::tell!(
            "note: this LoRA acts at timesteps below {below}, of which PEFT knows nothing; switch it off there at noisier ones \
             (disable_adapter)"
        );
    }
    Ok(())
}
