//! Finds Inception's weights on this machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use dmp_model::checkpoint::hex;
use dmp_model::features::Inception;
use sha2::{Digest, Sha256};

/// Environment variable that names the file.
const VARIABLE: &str = "DMP_INCEPTION";

/// What the evaluators call the file.
const NAMES: [&str; 3] = [
    "weights-inception-2015-12-05-6726825d.pth",
    "pt_inception-2015-12-05-6726825d.pth",
    "inception-2015-12-05.pt",
];

/// Inception, and which weights it has.
pub struct Weights {
    /// The network.
    pub network: Inception,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// Opens the file that `flag` names, else the environment, else one in a cache folder.
pub fn open(flag: Option<&Path>, device: &Device) -> Result<Weights> {
    let path = locate(flag)?;
    let shown = path.display().to_string();
    let bytes = std::fs::read(&path)
        .with_context(|| format!("Inception's weights {shown}: cannot be read"))?;
    let sha256 = hex(&Sha256::digest(&bytes));
    let network = Inception::load(bytes, device).with_context(|| {
        format!("Inception's weights {shown} (the file of torch-fidelity or pytorch-fid is wanted)")
    })?;
    Ok(Weights { network, sha256 })
}

/// Where they are: the file that `flag` names, else the environment, else one in a cache folder.
pub fn locate(flag: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = flag {
        return Ok(path.to_owned());
    }
    if let Some(path) = std::env::var_os(VARIABLE) {
        return Ok(path.into());
    }
    let folders = folders();
    for folder in &folders {
        for name in NAMES {
            let path = folder.join(name);
            if path.is_file() {
                return Ok(path);
            }
        }
    }
    bail!(
        "Inception's weights are not on this machine; download {} from the releases of toshas/torch-fidelity on GitHub \
         (or {} from mseitzer/pytorch-fid) and give it with --inception, in {VARIABLE}, or in {}",
        NAMES[0],
        NAMES[1],
        folders
            .first()
            .map_or_else(|| "a cache folder".to_owned(), |f| f.display().to_string())
    );
}

/// Where this program, and where PyTorch, keeps what was downloaded.
fn folders() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(home?.join(".cache")));
    cache
        .map(|cache| vec![cache.join("dmp"), cache.join("torch/hub/checkpoints")])
        .unwrap_or_default()
}

/// The folder in which this program keeps what it has computed, if there is a place for one.
pub fn cache_folder() -> Option<PathBuf> {
    folders().into_iter().next()
}
