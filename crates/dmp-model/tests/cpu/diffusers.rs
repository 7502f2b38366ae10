//! Models that diffusers wrote (`scripts/export/diffusers_models.py`), and what diffusers computes with them.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use dmp_model::checkpoint::{
    DiffusersDit, DiffusersError, TensorFile, Tensors, from_diffusers, load_backbone,
};
use dmp_model::denoiser::Denoiser;
use dmp_model::host;
use dmp_model::vae::{Vae, VaeConfig};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diffusers")
}

fn read(name: &str) -> Tensors {
    TensorFile::from_bytes(&std::fs::read(folder().join(name)).unwrap())
        .unwrap()
        .tensors
}

fn tensor(tensors: &Tensors, name: &str) -> Tensor<4> {
    let tensor = &tensors[name];
    let shape: [usize; 4] = tensor.shape.clone().try_into().unwrap();
    Tensor::from_data(
        TensorData::new(tensor.values.clone(), shape),
        &Device::flex(),
    )
}

/// ‖a − b‖ / ‖b‖ at most 1e-4.
#[track_caller]
fn agree(name: &str, found: Tensor<4>, expected: &Tensors) {
    let expected = &expected[name];
    assert_eq!(found.dims().to_vec(), expected.shape, "{name}");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let pairs = host::values(found).into_iter().zip(&expected.values);
    let off = norm(&mut pairs.map(|(a, b)| f64::from(a - b)));
    let error = off / norm(&mut expected.values.iter().map(|&x| f64::from(x)));
    println!("{name}: relative error {error:.2e}");
    assert!(error < 1e-4, "{name}: {error:e}");
}

fn vae(tensors: Tensors) -> Vae {
    let config = std::fs::read(folder().join("vae/config.json")).unwrap();
    let config: VaeConfig = serde_json::from_slice(&config).unwrap();
    assert_eq!((config.downsampling(), config.scaling_factor), (4, 0.3));
    Vae::load(&config, tensors, &Device::flex()).unwrap()
}

const VAE: &str = "vae/diffusion_pytorch_model.safetensors";

#[test]
fn an_autoencoder_encodes_and_decodes_as_diffusers_does() {
    let (vae, expected) = (vae(read(VAE)), read("vae.safetensors"));
    let scale = 0.3;
    let encoded = vae.encode(tensor(&expected, "images"));
    agree("mean", encoded.mean / scale, &expected);
    agree("std", encoded.std / scale, &expected);
    agree(
        "decoded",
        vae.decode(tensor(&expected, "latents") * scale),
        &expected,
    );
    let side = vae.config().sample_size;
    let encoded = vae.encode_tiled(tensor(&expected, "large"), side);
    agree("tiled_mean", encoded.mean / scale, &expected);
    agree("tiled_std", encoded.std / scale, &expected);
    let decoded = vae.decode_tiled(tensor(&expected, "large_latents") * scale, side);
    agree("tiled_decoded", decoded, &expected);
    // What is no larger than a tile is no other than whole.
    let small = tensor(&expected, "latents") * scale;
    let [whole, tiled] = [vae.decode(small.clone()), vae.decode_tiled(small, side)];
    assert_eq!(host::values(whole), host::values(tiled));
}

/// As files were before diffusers renamed the attention's maps, and as 1×1 convolutions.
#[test]
fn the_attentions_older_names_are_known() {
    let older = |tensors: Tensors| -> Tensors {
        let renamed = tensors.into_iter().map(|(name, mut tensor)| {
            let mut name = name;
            for (new, old) in [
                ("to_q", "query"),
                ("to_k", "key"),
                ("to_v", "value"),
                ("to_out.0", "proj_attn"),
            ] {
                if name.contains(&format!("attentions.0.{new}")) {
                    name = name.replace(new, old);
                    if tensor.shape.len() == 2 {
                        tensor.shape.extend([1, 1]);
                    }
                }
            }
            (name, tensor)
        });
        renamed.collect()
    };
    let expected = read("vae.safetensors");
    let vae = vae(older(read(VAE)));
    agree(
        "mean",
        vae.encode(tensor(&expected, "images")).mean / 0.3,
        &expected,
    );
}

/// Made before it is compared, a network of these sizes would take terabytes.
#[test]
fn configurations_of_far_more_than_there_is_are_refused() {
    let device = Device::flex();
    let changed = |path: &str, key: &str, value: serde_json::Value| {
        let config = std::fs::read(folder().join(path)).unwrap();
        let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        config[key] = value;
        config
    };
    for (key, value) in [
        (
            "block_out_channels",
            serde_json::json!([16384, 16384, 16384]),
        ),
        ("layers_per_block", serde_json::json!(16384)),
    ] {
        let config = changed("vae/config.json", key, value);
        let config: VaeConfig = serde_json::from_value(config).unwrap();
        let error = Vae::load(&config, read(VAE), &device).unwrap_err();
        assert!(error.to_string().contains("describes it"), "{error}");
    }
    let dit_config = "dit/transformer/config.json";
    let config = changed(dit_config, "sample_size", 65536.into());
    let config: DiffusersDit = serde_json::from_value(config).unwrap();
    let sizes = config.sizes().unwrap();
    let error = from_diffusers(&sizes, dit().1, &device).unwrap_err();
    assert!(matches!(error, DiffusersError::Size { .. }), "{error}");
    let config = changed(dit_config, "in_channels", (1_u64 << 63).into());
    let config: DiffusersDit = serde_json::from_value(config).unwrap();
    assert!(config.sizes().unwrap().validate().is_err());
}

fn dit() -> (DiffusersDit, Tensors) {
    let config = std::fs::read(folder().join("dit/transformer/config.json")).unwrap();
    let mut tensors = Tensors::new();
    for entry in std::fs::read_dir(folder().join("dit/transformer")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|ending| ending == "safetensors")
        {
            let name = format!("dit/transformer/{}", path.file_name().unwrap().display());
            tensors.extend(read(&name));
        }
    }
    (serde_json::from_slice(&config).unwrap(), tensors)
}

#[test]
fn a_transformer_predicts_as_diffusers_does() {
    let device = Device::flex();
    let (config, tensors) = dit();
    let sizes = config.sizes().unwrap();
    let file = TensorFile {
        tensors: from_diffusers(&sizes, tensors, &device).unwrap(),
        ..TensorFile::default()
    };
    let model = load_backbone(file, Some(&sizes), &device).unwrap().model;
    let expected = read("dit.safetensors");
    let prediction = model.predict(tensor(&expected, "x"), &[0, 500, 999], &[0, 4, 5]);
    agree("prediction", prediction, &expected);
}

#[test]
fn what_is_no_dit_is_refused_by_name() {
    let device = Device::flex();
    let (config, tensors) = dit();
    let sizes = config.sizes().unwrap();
    let refused = |change: &dyn Fn(&mut Tensors)| {
        let mut tensors = tensors.clone();
        change(&mut tensors);
        from_diffusers(&sizes, tensors, &device).unwrap_err()
    };
    let copy = "transformer_blocks.1.norm1.emb.timestep_embedder.linear_1.weight";
    let error = refused(&|tensors| tensors.get_mut(copy).unwrap().values[0] += 1.0);
    assert_eq!(
        error,
        DiffusersError::Copies {
            name: copy.to_owned()
        }
    );
    let missing = "transformer_blocks.0.attn1.to_k.bias";
    let error = refused(&|tensors| drop(tensors.remove(missing)));
    assert_eq!(
        error,
        DiffusersError::Missing {
            name: missing.to_owned()
        }
    );
    let error = refused(&|tensors| {
        let tensor = tensors[missing].clone();
        tensors.insert("lost".to_owned(), tensor);
    });
    assert_eq!(
        error,
        DiffusersError::Unknown {
            name: "lost".to_owned()
        }
    );
    let text = std::fs::read_to_string(folder().join("dit/transformer/config.json")).unwrap();
    for (here, other) in [("gelu-approximate", "geglu"), ("1e-05", "0.01")] {
        let changed: DiffusersDit = serde_json::from_str(&text.replace(here, other)).unwrap();
        let error = changed.sizes().unwrap_err().to_string();
        assert!(error.contains(other), "{error}");
    }
    let text = std::fs::read_to_string(folder().join("vae/config.json")).unwrap();
    for (key, here, other) in [
        ("latents_mean", "null", "[0, 1, 0, 0]"),
        ("_class_name", "\"AutoencoderKL\"", "\"VQModel\""),
    ] {
        let [here, other] = [here, other].map(|value| format!("\"{key}\": {value}"));
        let changed: VaeConfig = serde_json::from_str(&text.replace(&here, &other)).unwrap();
        let error = changed.check().unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
    let other: DiffusersDit = serde_json::from_str(
        r#"{"_class_name": "UNet2DModel", "num_attention_heads": 1, "attention_head_dim": 4, "in_channels": 1,
            "num_layers": 1, "sample_size": 4, "patch_size": 1, "num_embeds_ada_norm": 1}"#,
    )
    .unwrap();
    assert!(
        other
            .sizes()
            .unwrap_err()
            .to_string()
            .contains("UNet2DModel")
    );
}
