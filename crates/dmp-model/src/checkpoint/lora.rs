//! The LoRA's file, with the names that PEFT uses for the public DiT's modules.
//!
//! For each adapted map `base_model.model.<module>.lora_A.weight` `[r, in]`, `….lora_B.weight` `[out, r]` and the scalar
//! `base_model.model.<module>.alpha`, where `<module>` is the public DiT key, as in `blocks.0.attn.qkv`; the scalar `dmp.patch_below` of
//! one that acts below a timestep only. Metadata:
//! those of a patch, with the configuration (JSON) in `dmp.lora`; a file whose configuration disagrees with its tensors is
//! refused.

use burn::tensor::Device;

use super::addition::{AdditionKind, PatchMetadata};
use super::{
    CheckpointError, HostTensor, Mismatch, StoredType, TensorFile, Tensors, apply, check_finite,
    check_size, collect,
};
use crate::lora::{LIMIT_KEY, Lora, LoraConfig, alpha_key, public_key};

/// A LoRA read from a file.
#[derive(Debug, Clone)]
pub struct LoraFile {
    /// The LoRA.
    pub lora: Lora,
    /// What the file says of itself.
    pub metadata: PatchMetadata,
}

/// Reads a LoRA strictly.
pub fn load_lora(mut file: TensorFile, device: &Device) -> Result<LoraFile, CheckpointError> {
    let config: LoraConfig = AdditionKind::Lora.config(&file)?;
    config.check()?;
    check_size(config.added_params(), &file.tensors)?;
    check_finite(&file.tensors)?;
    let metadata = PatchMetadata::read(&file, AdditionKind::Lora)?;
    let lora = Lora::zeroed(&config, device);
    let wrong = take_scalars(&lora, &mut file.tensors)?;
    let lora = match apply(lora, file.tensors, public_key) {
        Ok(lora) if wrong.is_empty() => lora,
        Ok(_) => return Err(wrong.into()),
        Err(mut mismatch) => {
            mismatch.missing.extend(wrong.missing);
            mismatch.misshapen.extend(wrong.misshapen);
            return Err(mismatch.into());
        }
    };
    Ok(LoraFile { lora, metadata })
}

/// The file of a LoRA.
pub fn lora_bytes(lora: &Lora, metadata: &PatchMetadata) -> Result<Vec<u8>, CheckpointError> {
    let config = lora.config();
    let mut tensors = collect(lora, public_key);
    check_finite(&tensors)?;
    tensors.extend(scalars(lora).map(|(name, value)| {
        let scalar = HostTensor {
            shape: Vec::new(),
            values: vec![value],
        };
        (name, scalar)
    }));
    let metadata = metadata.entries(AdditionKind::Lora, config, &tensors)?;
    Ok(TensorFile { tensors, metadata }.to_bytes(StoredType::F32)?)
}

/// What a file repeats of the configuration, as metadata are lost in some hands: every map's alpha, and a limit.
fn scalars(lora: &Lora) -> impl Iterator<Item = (String, f32)> {
    let config = lora.config();
    let alphas = lora
        .modules()
        .map(|(block, target)| (alpha_key(block, target), config.alpha as f32));
    let limit = config
        .patch_below
        .map(|below| (LIMIT_KEY.to_owned(), below as f32));
    alphas.chain(limit)
}

/// Takes those out of `tensors`; what is missing or no scalar is in what is given back.
///
/// # Errors
/// One that is not the configuration's.
fn take_scalars(lora: &Lora, tensors: &mut Tensors) -> Result<Mismatch, CheckpointError> {
    let mut wrong = Mismatch::default();
    for (name, value) in scalars(lora) {
        match tensors.remove(&name) {
            None => wrong.missing.push(name),
            Some(found) if !found.shape.is_empty() => {
                wrong.misshapen.push((name, Vec::new(), found.shape));
            }
            Some(found) if found.values != [value] => {
                return Err(
                    AdditionKind::Lora.bad_config(format!("it disagrees with the tensor '{name}'"))
                );
            }
            Some(_) => {}
        }
    }
    Ok(wrong)
}
