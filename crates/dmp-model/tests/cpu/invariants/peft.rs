//! A LoRA that PEFT saved (`scripts/export/peft_lora.py`) changes weights as PEFT changes them.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use dmp_model::checkpoint::{TensorFile, apply, collect, from_peft, peft_files};
use dmp_model::dit::public_key;
use dmp_model::lora::Lora;

use super::{backbone, config};

fn tensors(name: &str) -> TensorFile {
    TensorFile::from_bytes(&fs::read(exported(name)).unwrap()).unwrap()
}

fn exported(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peft")
        .join(name)
}

fn open(said: &str) -> Result<Lora, String> {
    let file = tensors("adapter_model.safetensors");
    from_peft(said, file, &config(), &Device::flex()).map_err(|error| error.to_string())
}

#[test]
fn merged_weights_are_those_of_peft() {
    let config = fs::read_to_string(exported("adapter_config.json")).unwrap();
    let lora = open(&config).unwrap();
    let weights = tensors("merged.safetensors").tensors;
    let backbone = backbone(&Device::flex());
    let mut given = collect(&backbone, public_key);
    for (name, tensor) in &weights {
        if let Some(name) = name.strip_prefix("before.") {
            assert!(
                given.insert(name.to_owned(), tensor.clone()).is_some(),
                "{name}"
            );
        }
    }
    let backbone = apply(backbone, given, public_key).unwrap();
    let merged = collect(&lora.merge(&backbone).unwrap(), public_key);
    let mut changed = 0;
    for (name, expected) in &weights {
        let Some(name) = name.strip_prefix("after.") else {
            continue;
        };
        assert_eq!(merged[name].shape, expected.shape, "{name}");
        for (found, wanted) in merged[name].values.iter().zip(&expected.values) {
            assert!((found - wanted).abs() < 1e-6, "{name}: {found} {wanted}");
        }
        changed += usize::from(weights[&format!("before.{name}")] != *expected);
    }
    assert_eq!(changed, 4, "two maps of two blocks");
}

#[test]
fn what_is_written_is_what_was_read() {
    let config = fs::read_to_string(exported("adapter_config.json")).unwrap();
    let lora = open(&config).unwrap();
    let (config, bytes) = peft_files(&lora).unwrap();
    assert_eq!(open(&config).unwrap().config(), lora.config());
    let ours = TensorFile::from_bytes(&bytes).unwrap();
    assert_eq!(ours.tensors, tensors("adapter_model.safetensors").tensors);
}

#[test]
fn other_kinds_are_refused_by_name() {
    let config = fs::read_to_string(exported("adapter_config.json")).unwrap();
    for (from, to) in [
        ("\"use_dora\": false", "\"use_dora\": true"),
        ("\"use_rslora\": false", "\"use_rslora\": true"),
        ("\"bias\": \"none\"", "\"bias\": \"all\""),
        (
            "\"rank_pattern\": {}",
            "\"rank_pattern\": {\"blocks.0.attn.qkv\": 2}",
        ),
        ("\"peft_type\": \"LORA\"", "\"peft_type\": \"LOHA\""),
        (
            "\"init_lora_weights\": true",
            "\"init_lora_weights\": \"pissa_niter_16\"",
        ),
        ("\"kasa_config\": null", "\"kasa_config\": {\"beta\": 1}"),
        (
            "\"modules_to_save\": null",
            "\"modules_to_save\": [\"final_layer\"]",
        ),
        // What this program does not know yet.
        ("\"use_qalora\": false", "\"use_new_kind\": true"),
    ] {
        let changed = config.replace(from, to);
        assert_ne!(changed, config);
        let key = to.split('"').nth(1).unwrap();
        let error = open(&changed).unwrap_err();
        assert!(
            error.contains(key) && error.contains("plain LoRAs"),
            "{error}"
        );
    }
    let gaussian = "\"init_lora_weights\": \"gaussian\"";
    open(&config.replace("\"init_lora_weights\": true", gaussian)).unwrap();
    let error = open(&config.replace("\"r\": 3", "\"r\": 4")).unwrap_err();
    assert!(error.contains("lora_A.weight"), "{error}");
    assert!(open("{}").unwrap_err().contains("save_pretrained"));
}
