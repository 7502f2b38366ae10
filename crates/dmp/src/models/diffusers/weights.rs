//! The tensors of a part: one file, or shards that an index names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use dmp_model::checkpoint::Tensors;
use serde::Deserialize;

use super::super::backbone::tensors;
use super::json;

/// What the files of a part's weights are called, the best first; each may have an `.index.json` instead that names shards.
const WEIGHTS: [&str; 4] = [
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.fp16.bin",
];

/// All tensors of a part.
pub(super) fn weights(folder: &Path) -> Result<Tensors> {
    for name in WEIGHTS {
        if folder.join(name).is_file() {
            return read(&folder.join(name));
        }
        // Where half precision is said has changed over time.
        let stem = name.replace(".fp16", "");
        let mut indices = vec![format!("{name}.index.json")];
        if stem != name {
            indices.push(format!("{stem}.index.fp16.json"));
            indices.push(format!("{stem}.fp16.index.json"));
        }
        for index in indices {
            let index = folder.join(index);
            if index.is_file() {
                return sharded(&index);
            }
        }
    }
    bail!(
        "{}: has none of {} (or an .index.json of one); copy the folder again",
        folder.display(),
        WEIGHTS.join(", ")
    )
}

fn read(path: &Path) -> Result<Tensors> {
    let shown = || path.display().to_string();
    let bytes = fs::read(path).with_context(|| format!("{}: cannot be read", shown()))?;
    Ok(tensors(bytes).with_context(shown)?.tensors)
}

/// Which file holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn sharded(path: &Path) -> Result<Tensors> {
    let shown = path.display();
    let Index { weight_map } = json(path)?;
    let files: BTreeSet<&String> = weight_map.values().collect();
    let mut all = Tensors::new();
    for file in files {
        let plain = Path::new(file)
            .file_name()
            .is_some_and(|name| name == file.as_str());
        ensure!(
            plain,
            "{shown}: names '{file}', which is no file beside it; copy the folder again"
        );
        all.extend(read(&path.with_file_name(file))?);
    }
    match weight_map.keys().find(|name| !all.contains_key(*name)) {
        Some(name) => bail!("{shown}: tensor '{name}' is in no shard; copy the folder again"),
        None => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::open;
    use super::super::tests::copied;
    use super::*;

    #[test]
    fn what_is_not_whole_is_refused_by_name() {
        let folder = copied();
        let transformer = folder.path().join("transformer");
        let index = transformer.join("diffusion_pytorch_model.safetensors.index.json");
        let text = fs::read_to_string(&index).unwrap();
        let refused = |text: &str| {
            fs::write(&index, text).unwrap();
            format!("{:#}", open(folder.path(), &Device::flex()).unwrap_err())
        };
        let error = refused(&text.replace("diffusion_pytorch_model-00001", "../elsewhere"));
        assert!(
            error.contains("../elsewhere") && error.contains("no file beside it"),
            "{error}"
        );
        let error = refused(&text.replace("proj_out_1.bias", "proj_out_9.bias"));
        assert!(
            error.contains("'proj_out_9.bias' is in no shard"),
            "{error}"
        );
        fs::remove_file(&index).unwrap();
        let error = format!("{:#}", open(folder.path(), &Device::flex()).unwrap_err());
        assert!(
            error.contains("diffusion_pytorch_model.safetensors"),
            "{error}"
        );
    }
}
