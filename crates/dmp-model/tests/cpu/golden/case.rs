//! One folder of golden numbers.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use dmp_model::checkpoint::{HostTensor, TensorFile, Tensors, load_backbone};
use dmp_model::dit::{Dit, DitConfig};
use dmp_model::patch::{GateInput, GateKind, Patch, PatchConfig, Position};
use serde_json::Value;

/// ‖a − b‖ / ‖b‖ allowed for f32 outputs, losses and gradients.
pub const TOLERANCE: f64 = 1e-4;

pub struct Case {
    pub name: String,
    pub config: Value,
    pub tensors: Tensors,
    folder: PathBuf,
    worst: f64,
}

/// The golden folder.
pub fn root() -> PathBuf {
    match std::env::var_os("DMP_GOLDEN") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
    }
}

/// Every case that is a model with a patch.
pub fn models() -> Vec<Case> {
    let mut folders: Vec<PathBuf> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    let cases: Vec<Case> = folders
        .iter()
        .filter(|f| f.join("patch.safetensors").is_file())
        .map(|f| Case::open(f))
        .collect();
    assert!(!cases.is_empty(), "no golden case in {}", root().display());
    cases
}

impl Case {
    pub fn open(folder: &Path) -> Self {
        let config =
            serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
        let tensors = read(&folder.join("case.safetensors"));
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        Self {
            name,
            config,
            tensors,
            folder: folder.to_owned(),
            worst: 0.0,
        }
    }

    pub fn has(&self, key: &str) -> bool {
        self.tensors.contains_key(key)
    }

    pub fn host(&self, key: &str) -> &HostTensor {
        self.tensors
            .get(key)
            .unwrap_or_else(|| panic!("{}: no tensor {key}", self.name))
    }

    pub fn tensor<const D: usize>(&self, key: &str, device: &Device) -> Tensor<D> {
        let host = self.host(key);
        Tensor::from_data(
            TensorData::new(host.values.clone(), host.shape.clone()),
            device,
        )
    }

    /// Integers, as indices.
    pub fn indices(&self, key: &str) -> Vec<usize> {
        self.host(key).values.iter().map(|&v| v as usize).collect()
    }

    pub fn number(&self, key: &str) -> f64 {
        f64::from(self.host(key).values[0])
    }

    /// Labels of the case; with `drop` uniforms, those below 0.1 become the null label.
    pub fn labels(&self, drop: Option<&[f32]>) -> Vec<usize> {
        let null = self.config["num_classes"].as_u64().unwrap() as usize;
        let mut labels = self.indices("in.y");
        for (label, &u) in labels.iter_mut().zip(drop.unwrap_or_default()) {
            if u < 0.1 {
                *label = null;
            }
        }
        labels
    }

    /// Checks values against the tensor `key` and remembers the largest relative error.
    pub fn check(&mut self, key: &str, got: &[f32]) {
        let want = &self.host(key).values;
        assert_eq!(
            got.len(),
            want.len(),
            "{}: {key} has another size",
            self.name
        );
        let error = relative_error(got, want);
        assert!(
            error <= TOLERANCE,
            "{}: {key} is off by {error:.2e}",
            self.name
        );
        self.worst = self.worst.max(error);
    }

    pub fn check_tensor<const D: usize>(&mut self, key: &str, got: Tensor<D>) {
        assert_eq!(
            got.dims().to_vec(),
            self.host(key).shape,
            "{}: {key}",
            self.name
        );
        self.check(key, &values(got));
    }

    pub fn report(&self, what: &str) {
        println!(
            "{:<24} {what:<10} largest relative error {:.2e}",
            self.name, self.worst
        );
    }

    pub fn backbone(&self, device: &Device) -> Dit {
        let c = &self.config;
        let size = |key: &str| c[key].as_u64().unwrap() as usize;
        let config = DitConfig {
            input_size: size("input_size"),
            patch_size: size("patch_size"),
            in_channels: size("in_channels"),
            hidden_size: size("hidden_size"),
            depth: size("depth"),
            num_heads: size("num_heads"),
            mlp_ratio: c["mlp_ratio"].as_f64().unwrap(),
            learn_sigma: c["learn_sigma"].as_bool().unwrap(),
            num_classes: size("num_classes"),
            class_dropout_prob: c["class_dropout_prob"].as_f64().unwrap_or(0.0),
        };
        let file = TensorFile {
            tensors: read(&self.folder.join("model.safetensors")),
            ..Default::default()
        };
        load_backbone(file, Some(&config), device).unwrap().model
    }

    pub fn patch_config(&self) -> PatchConfig {
        let c = &self.config;
        let size = |name: &str| c[name].as_u64().unwrap() as usize;
        PatchConfig {
            position: if c["vp_type"] == "add" {
                Position::Add
            } else {
                Position::Prepend
            },
            gate: if c["gate_type"] == "PT" {
                GateKind::None
            } else {
                GateKind::Linear
            },
            gate_input: if c["gate_input"] == "cond" {
                GateInput::Conditioning
            } else {
                GateInput::Timestep
            },
            top_k: c["topk"].as_f64().unwrap(),
            ..PatchConfig::paper(size("num_tokens"), size("hidden_size"), size("pt_depth"))
        }
    }

    pub fn patch(&self, device: &Device) -> Patch {
        self.patch_of(read(&self.folder.join("patch.safetensors")), device)
    }

    /// The patch after the case's recorded optimiser steps.
    pub fn patch_after_adamw(&self, device: &Device) -> Patch {
        let named = |(key, tensor): (&String, &HostTensor)| {
            let name = key
                .strip_prefix("out.adamw.")
                .filter(|name| *name != "losses")?;
            Some((name.to_owned(), tensor.clone()))
        };
        self.patch_of(self.tensors.iter().filter_map(named).collect(), device)
    }

    fn patch_of(&self, tensors: Tensors, device: &Device) -> Patch {
        let tensors = split_prompts(tensors);
        dmp_model::checkpoint::apply(
            Patch::zeroed(&self.patch_config(), device),
            tensors,
            str::to_owned,
        )
        .unwrap()
    }
}

/// The public `prompt_embeddings` `[L, N, D]` as our `prompts.<block>` `[N, D]`.
fn split_prompts(mut tensors: Tensors) -> Tensors {
    if let Some(all) = tensors.remove("prompt_embeddings") {
        let (n, d) = (all.shape[1], all.shape[2]);
        for (block, values) in all.values.chunks(n * d).enumerate() {
            tensors.insert(
                format!("prompts.{block}"),
                HostTensor {
                    shape: vec![n, d],
                    values: values.to_vec(),
                },
            );
        }
    }
    tensors
}

/// Our prompts of all blocks, end to end, as the public tensor holds them.
pub fn join_prompts(tensors: &Tensors) -> Vec<f32> {
    let blocks = tensors
        .keys()
        .filter(|key| key.starts_with("prompts."))
        .count();
    (0..blocks)
        .flat_map(|block| tensors[&format!("prompts.{block}")].values.clone())
        .collect()
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

pub fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(
        &mut got
            .iter()
            .zip(want)
            .map(|(a, b)| f64::from(*a) - f64::from(*b)),
    );
    let size = norm(&mut want.iter().map(|b| f64::from(*b)));
    if difference == 0.0 {
        0.0
    } else {
        difference / size
    }
}

fn read(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // Integer inputs (timesteps, labels) become f32 too: they are far below 2^24.
    let parsed = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = Tensors::new();
    for (name, view) in parsed.iter() {
        let data = view.data();
        let values = match view.dtype() {
            safetensors::Dtype::I64 => data
                .chunks_exact(8)
                .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32)
                .collect(),
            safetensors::Dtype::F64 => data
                .chunks_exact(8)
                .map(|b| f64::from_le_bytes(b.try_into().unwrap()) as f32)
                .collect(),
            safetensors::Dtype::F32 => data
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect(),
            dtype => panic!("{}: {name} is {dtype:?}", path.display()),
        };
        tensors.insert(
            name.to_owned(),
            HostTensor {
                shape: view.shape().to_vec(),
                values,
            },
        );
    }
    tensors
}
