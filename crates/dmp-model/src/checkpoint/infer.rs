//! A DiT's sizes from the shapes of its tensors, for checkpoints that do not say them.

use serde::Deserialize;

use super::Tensors;
use crate::dit::DitConfig;

/// What shapes cannot say, as a `config.json` beside a checkpoint may; its other entries are left to the shapes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Hints {
    /// Attention heads.
    #[serde(alias = "num_attention_heads")]
    pub num_heads: Option<usize>,
    /// Label dropout of its training; 0 means that the table's last row is a class, not the null label.
    pub class_dropout_prob: Option<f64>,
}

/// Why the sizes cannot be read off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// A tensor that every DiT has is not there, or has another shape.
    #[error(
        "the sizes cannot be read off: '{name}' {fault}; this is no DiT, or in a layout this program does not know"
    )]
    Tensor {
        /// The tensor.
        name: &'static str,
        /// What is wrong with it.
        fault: String,
    },
    /// Heads leave no trace in the shapes.
    #[error(
        "a DiT of width {width} is none of the published ones, and its number of heads cannot be read off; put a config.json beside it with {{\"num_heads\": …}}"
    )]
    Heads {
        /// Its width.
        width: usize,
    },
}

/// Widths and heads of the published DiTs.
const HEADS: [(usize, usize); 4] = [(384, 6), (768, 12), (1024, 16), (1152, 16)];

impl DitConfig {
    /// Sizes of the DiT that `tensors` (under public names) are of. Labels are taken to have been dropped in training
    /// if there is more than one row of them: the last is then the null label. `hints` come before guesses.
    ///
    /// # Errors
    /// When a tensor is missing or has no such shape, or the number of heads is not known for this width.
    pub fn infer(tensors: &Tensors, hints: &Hints) -> Result<Self, InferError> {
        let [hidden_size, in_channels, patch_size, _] =
            shape::<4>(tensors, "x_embedder.proj.weight")?;
        let [_, tokens, _] = shape::<3>(tensors, "pos_embed")?;
        let [rows, _] = shape::<2>(tensors, "y_embedder.embedding_table.weight")?;
        let [mlp, _] = shape::<2>(tensors, "blocks.0.mlp.fc1.weight")?;
        let [outputs, _] = shape::<2>(tensors, "final_layer.linear.weight")?;
        let side = tokens.isqrt();
        if side * side != tokens {
            return Err(InferError::Tensor {
                name: "pos_embed",
                fault: format!("is of {tokens} tokens, which are no square"),
            });
        }
        let depth = (0..)
            .take_while(|block| tensors.contains_key(&format!("blocks.{block}.mlp.fc1.weight")))
            .count();
        let published = HEADS
            .iter()
            .find_map(|&(width, heads)| (width == hidden_size).then_some(heads));
        let num_heads = hints
            .num_heads
            .or(published)
            .ok_or(InferError::Heads { width: hidden_size })?;
        let class_dropout_prob =
            hints
                .class_dropout_prob
                .unwrap_or(if rows > 1 { 0.1 } else { 0.0 });
        let pixels = patch_size * patch_size * in_channels;
        Ok(Self {
            input_size: side * patch_size,
            patch_size,
            in_channels,
            hidden_size,
            depth,
            num_heads,
            mlp_ratio: mlp as f64 / hidden_size.max(1) as f64,
            learn_sigma: outputs == 2 * pixels,
            num_classes: (rows - usize::from(class_dropout_prob > 0.0 && rows > 0)).max(1),
            class_dropout_prob,
        })
    }
}

fn shape<const D: usize>(tensors: &Tensors, name: &'static str) -> Result<[usize; D], InferError> {
    let fault = |fault: String| InferError::Tensor { name, fault };
    let tensor = tensors
        .get(name)
        .ok_or_else(|| fault("is missing".to_owned()))?;
    tensor
        .shape
        .as_slice()
        .try_into()
        .map_err(|_| fault(format!("has shape {:?}", tensor.shape)))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::checkpoint::collect;
    use crate::dit::{Dit, Preset, public_key};

    #[test]
    fn sizes_come_back_from_shapes() {
        let preset: Preset = "dit-s-4".parse().unwrap();
        for classes in [1, 10] {
            let config = DitConfig {
                depth: 2,
                ..preset.config(16, classes)
            };
            let tensors = collect(&Dit::zeroed(&config, &Device::flex()), public_key);
            assert_eq!(
                DitConfig::infer(&tensors, &Hints::default()).unwrap(),
                config
            );
        }
    }

    #[test]
    fn what_cannot_be_read_off_is_named() {
        let config = DitConfig {
            hidden_size: 64,
            depth: 1,
            num_heads: 4,
            .."dit-s-4".parse::<Preset>().unwrap().config(16, 1)
        };
        let mut tensors = collect(&Dit::zeroed(&config, &Device::flex()), public_key);
        let none = Hints::default();
        assert_eq!(
            DitConfig::infer(&tensors, &none),
            Err(InferError::Heads { width: 64 })
        );
        let hints: Hints =
            serde_json::from_str(r#"{"num_attention_heads": 4, "_class_name": "DiT"}"#).unwrap();
        assert_eq!(DitConfig::infer(&tensors, &hints).unwrap(), config);
        tensors.remove("pos_embed");
        let error = DitConfig::infer(&tensors, &none).unwrap_err().to_string();
        assert!(error.contains("'pos_embed' is missing"), "{error}");
    }
}
