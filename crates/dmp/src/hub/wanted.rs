//! Which files of a repository are needed: configurations, and one set of weights of each part.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// What says which parts a pipeline has.
const PIPELINE: &str = "model_index.json";

/// The file of a part without weights.
const SCHEDULER: &str = "scheduler/scheduler_config.json";

/// How files end that say which file holds which tensor.
const INDEX: &str = ".index.json";

/// Folders of a pipeline's parts that are read here; the first is the repository's own.
const FOLDERS: [&str; 4] = ["", "transformer/", "vae/", "scheduler/"];

/// Endings of weights, the best first: where there are files of one, those of the others are not needed.
const WEIGHTS: [&str; 5] = [".safetensors", ".bin", ".pt", ".pth", ".ckpt"];

/// Variants that are other precisions or other states of the same weights.
const VARIANTS: [&str; 4] = [".fp16.", ".bf16.", ".non_ema.", ".fp16-"];

/// Of them, those that do where there is nothing else.
const HALF: [&str; 2] = [".fp16.", ".fp16-"];

/// The files that are needed of all that are there.
pub(super) fn wanted(files: &[String]) -> Vec<String> {
    let pipeline = files.iter().any(|file| file == PIPELINE);
    let mut found = Vec::new();
    for folder in FOLDERS {
        let inside = files.iter().filter(|file| {
            (file.strip_prefix(folder)).is_some_and(|name| !name.is_empty() && !name.contains('/'))
        });
        let inside: Vec<&String> = inside.collect();
        found.extend(
            inside
                .iter()
                .filter(|file| file.ends_with(".json"))
                .map(|file| (*file).clone()),
        );
        // Beside a pipeline's parts lie the same weights in other forms.
        if folder.is_empty() && pipeline {
            continue;
        }
        let weights = |plain: bool, ending: &str| -> Vec<String> {
            let held = inside.iter().filter(|file| {
                let variant = VARIANTS.iter().any(|variant| file.contains(variant));
                let half = HALF.iter().any(|half| file.contains(half));
                file.ends_with(ending) && if plain { !variant } else { half }
            });
            held.map(|file| (*file).clone()).collect()
        };
        // Those in half precision, where there are no others.
        let sets = [true, false].into_iter();
        let mut sets = sets.flat_map(|plain| WEIGHTS.map(|ending| weights(plain, ending)));
        found.extend(sets.find(|set| !set.is_empty()).unwrap_or_default());
    }
    found
}

/// What is missing of `files`, which are in `folder` or nowhere yet: any weights, a part that a pipeline says it has, a shard that
/// an index names. `None` for a whole copy.
pub(super) fn missing(folder: Option<&Path>, files: &[String]) -> Option<String> {
    let wanted = wanted(files);
    let weights: Vec<&String> = (wanted.iter())
        .filter(|file| WEIGHTS.iter().any(|ending| file.ends_with(ending)))
        .collect();
    if weights.is_empty() {
        return Some("weights that are known here".to_owned());
    }
    for part in parts(folder, files) {
        let needed = match part {
            "scheduler/" => files.iter().any(|file| file == SCHEDULER),
            _ => weights.iter().any(|file| file.starts_with(part)),
        };
        if !needed {
            return Some(part.to_owned());
        }
    }
    let parted = weights.iter().find(|file| {
        shard(file).is_some_and(|(stem, of)| {
            let alike = weights
                .iter()
                .filter(|file| shard(file) == Some((stem, of)));
            alike.count() != of
        })
    });
    if let Some(file) = parted {
        return Some(format!("shards beside {file}"));
    }
    for index in wanted.iter().filter(|file| file.ends_with(INDEX)) {
        let inside = index.rfind('/').map_or("", |slash| &index[..=slash]);
        // An index of weights in another form than those that are used is of no account.
        let form = |name: &str| {
            let ending = name.rsplit('.').next().map(str::to_owned);
            (ending, HALF.iter().any(|half| name.contains(half)))
        };
        let used = weights.iter().find(|file| file.starts_with(inside));
        for name in shards(folder, index) {
            let of_used = used.is_none_or(|file| form(file) == form(&name));
            if of_used && !files.contains(&format!("{inside}{name}")) {
                return Some(format!("{inside}{name}"));
            }
        }
    }
    None
}

/// Whether there are parts of a pipeline without what says which there are: other programs download a part alone.
pub(super) fn is_partial(files: &[String]) -> bool {
    let mut parts = FOLDERS.iter().filter(|folder| !folder.is_empty());
    let begun = parts.any(|folder| files.iter().any(|file| file.starts_with(folder)));
    begun && !files.iter().any(|file| file == PIPELINE)
}

/// The folders of parts that must be there: those that a pipeline says it has, and those that have begun to be.
fn parts(folder: Option<&Path>, files: &[String]) -> Vec<&'static str> {
    let said = json(folder, PIPELINE);
    let mut parts = FOLDERS.to_vec();
    parts.retain(|part| {
        // `["diffusers", "AutoencoderKL"]`; `[null, null]` for what it does without.
        let said = said[part.trim_end_matches('/')][1].is_string();
        !part.is_empty() && (said || files.iter().any(|file| file.starts_with(part)))
    });
    parts
}

/// The files that an index names.
fn shards(folder: Option<&Path>, index: &str) -> Vec<String> {
    let said = json(folder, index);
    let named = said["weight_map"].as_object().into_iter().flatten();
    let mut named: Vec<String> = named
        .filter_map(|(_, file)| file.as_str().map(str::to_owned))
        .collect();
    named.sort();
    named.dedup();
    named
}

/// What a file says; nothing where it is not there or cannot be understood, which is told when it is opened.
fn json(folder: Option<&Path>, name: &str) -> Value {
    folder
        .and_then(|folder| fs::read(folder.join(name)).ok())
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

/// Of `…-00001-of-00003.…`: what is before the number, and of how many it is.
fn shard(file: &str) -> Option<(&str, usize)> {
    let (before, after) = file.split_once("-of-")?;
    let digits = after.split('.').next()?;
    let (stem, number) = before.rsplit_once('-')?;
    number.parse::<usize>().ok()?;
    Some((stem, digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[&str]) -> Vec<String> {
        files.iter().map(|file| (*file).to_owned()).collect()
    }

    #[test]
    fn a_pipeline_needs_one_set_of_weights_of_each_part() {
        let files = names(&[
            "README.md",
            "model_index.json",
            "whole.ckpt",
            "transformer/config.json",
            "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
            "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
            "transformer/diffusion_pytorch_model.bin",
            "transformer/diffusion_pytorch_model.fp16.safetensors",
            "vae/config.json",
            "vae/diffusion_pytorch_model.bin",
            "text_encoder/model.safetensors",
        ]);
        let needed = wanted(&files);
        let expected = [1, 3, 4, 5, 8, 9].map(|index: usize| files[index].clone());
        assert_eq!(needed, expected);
        let folder = tempfile::tempdir().unwrap();
        let missing = |files: &[String]| missing(Some(folder.path()), files);
        assert_eq!(missing(&needed), None);
        for without in [4, 9] {
            let left = needed.iter().filter(|file| **file != files[without]);
            let left: Vec<String> = left.cloned().collect();
            assert!(missing(&left).is_some(), "{}", files[without]);
        }
        // Parts that the pipeline says it has, and none that it says it does without.
        let say = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        say(
            "model_index.json",
            r#"{"scheduler": ["diffusers", "DDIMScheduler"], "vae": [null, null]}"#,
        );
        assert_eq!(missing(&needed).as_deref(), Some("scheduler/"));
        let mut needed = [needed, names(&[SCHEDULER])].concat();
        assert_eq!(missing(&needed), None);
        // A shard whose name does not say that there are others.
        fs::create_dir(folder.path().join("transformer")).unwrap();
        let index = "transformer/diffusion_pytorch_model.safetensors.index.json";
        say(index, r#"{"weight_map": {"a": "other.safetensors"}}"#);
        needed.push(index.to_owned());
        assert_eq!(
            missing(&needed).as_deref(),
            Some("transformer/other.safetensors")
        );
    }

    #[test]
    fn a_part_alone_is_no_whole_copy() {
        let files = names(&[
            "transformer/config.json",
            "transformer/diffusion_pytorch_model.bin",
        ]);
        assert!(is_partial(&files));
        assert!(!is_partial(&[files, names(&["model_index.json"])].concat()));
        assert!(!is_partial(&names(&[
            "config.json",
            "backbone.safetensors"
        ])));
    }

    #[test]
    fn half_precision_does_where_there_is_nothing_else() {
        let files = names(&[
            "vae/diffusion_pytorch_model.fp16.bin",
            "vae/diffusion_pytorch_model.fp16.safetensors",
            "vae/diffusion_pytorch_model.non_ema.safetensors",
        ]);
        assert_eq!(wanted(&files), files[1..2]);
    }

    #[test]
    fn a_single_file_is_a_whole_repository() {
        let files = names(&["config.json", "patch.safetensors", "old.pt"]);
        assert_eq!(wanted(&files), files[..2]);
        assert_eq!(missing(None, &files), None);
        assert!(missing(None, &files[..1]).is_some());
    }
}
