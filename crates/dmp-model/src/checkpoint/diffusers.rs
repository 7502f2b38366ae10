//! A DiT as diffusers keeps it (`DiTTransformer2DModel`), under the original's names and with the original's numerics.
//!
//! Diffusers computes the timestep's frequencies with another divisor than the model was trained with (half − 1 for half)
//! and one LayerNorm with another ε; here the original's are used. It also keeps a copy of the embedders in every block,
//! which must be alike, as they are in what its own converter writes.

use burn::tensor::Device;
use serde::Deserialize;

use super::{HostTensor, Tensors};
use crate::dit::{DitConfig, sincos_2d};
use crate::host;

/// What is read of `transformer/config.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DiffusersDit {
    /// The class; only `DiTTransformer2DModel` is a DiT (and `Transformer2DModel`, as it was called before).
    #[serde(rename = "_class_name", default)]
    class_name: String,
    num_attention_heads: usize,
    attention_head_dim: usize,
    in_channels: usize,
    #[serde(default)]
    out_channels: Option<usize>,
    num_layers: usize,
    sample_size: usize,
    patch_size: usize,
    /// Classes, the null label not counted.
    num_embeds_ada_norm: usize,
    #[serde(default)]
    norm_type: Option<String>,
    #[serde(default)]
    activation_fn: Option<String>,
    #[serde(default)]
    norm_eps: Option<f64>,
}

/// Why a diffusers transformer is no DiT that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiffusersError {
    /// Another model.
    #[error(
        "config.json describes a {found}, and only DiTTransformer2DModel with norm_type ada_norm_zero and activation_fn gelu-approximate is a DiT; give such a one"
    )]
    Class {
        /// What it describes.
        found: String,
    },
    /// LayerNorms of another ε than DiTs have.
    #[error(
        "config.json says norm_eps {found}, and a DiT's is 1e-6, or 1e-5 as diffusers has it of one LayerNorm; give a DiT"
    )]
    Epsilon {
        /// What it says.
        found: String,
    },
    /// The copies of an embedder differ.
    #[error(
        "'{name}' differs from the first block's; a DiT has one embedder for all blocks, as what was converted from the original has: convert it again"
    )]
    Copies {
        /// The tensor.
        name: String,
    },
    /// A tensor is not there.
    #[error("tensor '{name}' is missing; copy or export the folder again")]
    Missing {
        /// Its name in the folder.
        name: String,
    },
    /// A tensor that no DiT has.
    #[error("tensor '{name}' is none of a DiT's; give the folder of a DiTTransformer2DModel")]
    Unknown {
        /// Its name in the folder.
        name: String,
    },
    /// The configuration is of far more than there is; made, it could exhaust the memory.
    #[error(
        "config.json describes {described} parameters, the weights have {held}; copy or export the folder again"
    )]
    Size {
        /// Parameters described.
        described: usize,
        /// Numbers in the files.
        held: usize,
    },
    /// Parts of a matrix that do not fit together.
    #[error(
        "tensor '{name}' has shape {shape:?}, which does not fit the others; copy or export the folder again"
    )]
    Shape {
        /// Its name in the folder.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
}

/// GELU's tanh form, which the original has.
const ACTIVATION: &str = "gelu-approximate";

/// What diffusers' configurations of DiTs say of ε: the original's, and its own default.
const EPSILONS: [f64; 2] = [1e-6, 1e-5];

impl DiffusersDit {
    /// Sizes of the DiT.
    ///
    /// # Errors
    /// When it is another model.
    pub fn sizes(&self) -> Result<DitConfig, DiffusersError> {
        let known = ["", "DiTTransformer2DModel", "Transformer2DModel"];
        let norm = self.norm_type.as_deref().unwrap_or("ada_norm_zero");
        let activation = self.activation_fn.as_deref().unwrap_or(ACTIVATION);
        if !known.contains(&self.class_name.as_str())
            || norm != "ada_norm_zero"
            || activation != ACTIVATION
        {
            return Err(DiffusersError::Class {
                found: format!(
                    "{} with norm_type {norm} and activation_fn {activation}",
                    self.class_name
                ),
            });
        }
        if let Some(found) = self.norm_eps.filter(|epsilon| !EPSILONS.contains(epsilon)) {
            return Err(DiffusersError::Epsilon {
                found: found.to_string(),
            });
        }
        Ok(DitConfig {
            input_size: self.sample_size,
            patch_size: self.patch_size,
            in_channels: self.in_channels,
            hidden_size: self
                .num_attention_heads
                .saturating_mul(self.attention_head_dim),
            depth: self.num_layers,
            num_heads: self.num_attention_heads,
            mlp_ratio: 4.0,
            learn_sigma: self.out_channels == Some(self.in_channels.saturating_mul(2)),
            num_classes: self.num_embeds_ada_norm,
            class_dropout_prob: 0.1,
        })
    }
}

/// Names within a block, and of what is outside of blocks: diffusers', and the original's.
const IN_BLOCKS: [(&str, &str); 4] = [
    ("norm1.linear", "adaLN_modulation.1"),
    ("attn1.to_out.0", "attn.proj"),
    ("ff.net.0.proj", "mlp.fc1"),
    ("ff.net.2", "mlp.fc2"),
];
const OUTSIDE: [(&str, &str); 3] = [
    ("pos_embed.proj", "x_embedder.proj"),
    ("proj_out_1", "final_layer.adaLN_modulation.1"),
    ("proj_out_2", "final_layer.linear"),
];
/// Of which every block has a copy, under `norm1.emb`.
const COPIED: [(&str, &str); 3] = [
    ("timestep_embedder.linear_1", "t_embedder.mlp.0"),
    ("timestep_embedder.linear_2", "t_embedder.mlp.2"),
    (
        "class_embedder.embedding_table",
        "y_embedder.embedding_table",
    ),
];
const PARTS: [&str; 2] = ["weight", "bias"];

/// The tensors of a diffusers transformer under the original's names. `config` are its sizes, checked.
///
/// # Errors
/// Names what is missing, unknown, or does not fit.
pub fn from_diffusers(
    config: &DitConfig,
    mut found: Tensors,
    device: &Device,
) -> Result<Tensors, DiffusersError> {
    let described = config.num_params();
    if let Some(held) = super::far_fewer(described, &found) {
        return Err(DiffusersError::Size { described, held });
    }
    let mut tensors = Tensors::new();
    let mut take = |name: String| {
        let tensor = found.remove(&name);
        tensor.ok_or(DiffusersError::Missing { name })
    };
    for part in PARTS {
        for (theirs, ours) in OUTSIDE {
            tensors.insert(format!("{ours}.{part}"), take(format!("{theirs}.{part}"))?);
        }
        for block in 0..config.depth {
            let (from, to) = (
                format!("transformer_blocks.{block}"),
                format!("blocks.{block}"),
            );
            for (theirs, ours) in IN_BLOCKS {
                let tensor = take(format!("{from}.{theirs}.{part}"))?;
                tensors.insert(format!("{to}.{ours}.{part}"), tensor);
            }
            let qkv = ["to_q", "to_k", "to_v"].map(|map| format!("{from}.attn1.{map}.{part}"));
            let mut joined: Option<HostTensor> = None;
            for name in qkv {
                let next = take(name.clone())?;
                joined = Some(match joined {
                    None => next,
                    Some(before) => below(before, next, &name)?,
                });
            }
            tensors.extend(joined.map(|qkv| (format!("{to}.attn.qkv.{part}"), qkv)));
            for (theirs, ours) in COPIED {
                if part == "bias" && theirs.starts_with("class") {
                    continue;
                }
                let (theirs, ours) = (
                    format!("{from}.norm1.emb.{theirs}.{part}"),
                    format!("{ours}.{part}"),
                );
                let copy = take(theirs.clone())?;
                match tensors.get(&ours) {
                    Some(first) if *first != copy => {
                        return Err(DiffusersError::Copies { name: theirs });
                    }
                    Some(_) => {}
                    None => {
                        tensors.insert(ours, copy);
                    }
                }
            }
        }
    }
    let positions = match take("pos_embed.pos_embed".to_owned()) {
        Ok(table) => table,
        // Fixed, and so not always written.
        Err(_) => {
            let table = sincos_2d(config.grid_size(), config.hidden_size, device);
            HostTensor {
                shape: table.dims().to_vec(),
                values: host::values(table),
            }
        }
    };
    tensors.insert("pos_embed".to_owned(), positions);
    match found.into_keys().next() {
        None => Ok(tensors),
        Some(name) => Err(DiffusersError::Unknown { name }),
    }
}

/// One matrix or vector below another.
fn below(
    mut upper: HostTensor,
    lower: HostTensor,
    name: &str,
) -> Result<HostTensor, DiffusersError> {
    let fits = !lower.shape.is_empty() && upper.shape.get(1..) == lower.shape.get(1..);
    if !fits {
        return Err(DiffusersError::Shape {
            name: name.to_owned(),
            shape: lower.shape,
        });
    }
    upper.shape[0] += lower.shape[0];
    upper.values.extend(lower.values);
    Ok(upper)
}
