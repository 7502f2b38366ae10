//! Which files of a repository are needed: configurations, and one set of weights of each part.

/// Folders of a pipeline's parts that are read here; the first is the repository's own.
const FOLDERS: [&str; 4] = ["", "transformer/", "vae/", "scheduler/"];

/// Endings of weights, the best first: where there are files of one, those of the others are not needed.
const WEIGHTS: [&str; 5] = [".safetensors", ".bin", ".pt", ".pth", ".ckpt"];

/// Variants that are other precisions or other states of the same weights.
const VARIANTS: [&str; 4] = [".fp16.", ".bf16.", ".non_ema.", ".fp16-"];

/// The files that are needed of all that are there.
pub(super) fn wanted(files: &[String]) -> Vec<String> {
    let pipeline = files.iter().any(|file| file == "model_index.json");
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
        for ending in WEIGHTS {
            let weights = inside.iter().filter(|file| {
                file.ends_with(ending) && !VARIANTS.iter().any(|variant| file.contains(variant))
            });
            let weights: Vec<String> = weights.map(|file| (*file).clone()).collect();
            if !weights.is_empty() {
                found.extend(weights);
                break;
            }
        }
    }
    found
}

/// Whether the files that are there hold weights, of every part of a pipeline that is one of weights, and every shard.
pub(super) fn is_whole(files: &[String]) -> bool {
    let weights: Vec<String> = wanted(files)
        .into_iter()
        .filter(|file| WEIGHTS.iter().any(|ending| file.ends_with(ending)))
        .collect();
    let part = |folder: &str| weights.iter().any(|file| file.starts_with(folder));
    let has = |folder: &str| files.iter().any(|file| file.starts_with(folder));
    let parts = ["transformer/", "vae/"];
    let shards = weights.iter().all(|file| match shard(file) {
        Some((stem, of)) => {
            let there = weights
                .iter()
                .filter(|file| shard(file) == Some((stem, of)));
            there.count() == of
        }
        None => true,
    });
    !weights.is_empty() && shards && parts.iter().all(|folder| !has(folder) || part(folder))
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
        assert!(is_whole(&needed));
        for without in [4, 9] {
            let left = needed.iter().filter(|file| **file != files[without]);
            let left: Vec<String> = left.cloned().collect();
            assert!(!is_whole(&left), "{}", files[without]);
        }
    }

    #[test]
    fn a_single_file_is_a_whole_repository() {
        let files = names(&["config.json", "patch.safetensors", "old.pt"]);
        assert_eq!(wanted(&files), files[..2]);
        assert!(is_whole(&files));
        assert!(!is_whole(&files[..1]));
    }
}
