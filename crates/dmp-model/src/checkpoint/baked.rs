//! The file of a patch that was baked for the steps of one sampler.
//!
//! Tensors `steps.<block>` `[S, K + T, D]` (at each of S timesteps K extra tokens and then what is added to the T tokens of
//! the prompts' grid), `timesteps` `[S]`, and `settings` `[4]` = K, rows and columns of the grid, noise schedule. To sample with it: before block 0 put
//! the K extra tokens before the image's, before later blocks overwrite them, add the T vectors to the image's tokens, and drop the extra
//! ones after the last block. Metadata: ModelSpec 1.0.1 keys, `dmp.baked` (JSON), `dmp.schedule` and `dmp.base_sha256`.

use burn::tensor::{Device, Tensor, TensorData};
use dmp_math::schedule::BetaSchedule;
use serde::{Deserialize, Serialize};

use super::addition::{AdditionKind, PatchMetadata};
use super::schedule::schedule_number;
use super::{
    CheckpointError, HostTensor, Mismatch, StoredType, TensorFile, Tensors, check_finite,
    check_size,
};
use crate::host;
use crate::patch::{BakedSteps, has_places};

/// What a baked file is, besides its tensors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BakedConfig {
    /// Steps of the sampler, as `--sampling-steps` says them.
    pub sampling_steps: String,
    /// How many they are, S.
    pub steps: usize,
    /// Extra tokens K.
    pub extra: usize,
    /// Tokens that something is added to, T; 0 for none.
    pub added: usize,
    /// Rows and columns of the grid that those are on, or the backbone's.
    pub grid: [usize; 2],
    /// Token width D.
    pub hidden_size: usize,
    /// Blocks patched, from the first.
    pub depth: usize,
}

/// A baked patch read from a file.
#[derive(Debug, Clone)]
pub struct BakedFile {
    /// What is put before and added to tokens.
    pub steps: BakedSteps,
    /// Of which sizes.
    pub config: BakedConfig,
    /// What the file says of itself.
    pub metadata: PatchMetadata,
}

impl BakedConfig {
    /// Of these steps of a sampler.
    fn of(steps: &BakedSteps, sampling_steps: &str) -> Self {
        let [_, rows, hidden_size] = steps.blocks.first().map_or([0; 3], Tensor::dims);
        Self {
            sampling_steps: sampling_steps.to_owned(),
            steps: steps.timesteps.len(),
            extra: steps.extra,
            added: rows - steps.extra,
            grid: steps.grid,
            hidden_size,
            depth: steps.blocks.len(),
        }
    }

    /// Values of all blocks.
    pub fn num_values(&self) -> usize {
        let rows = self.extra.saturating_add(self.added);
        [self.steps, rows, self.hidden_size, self.depth]
            .into_iter()
            .fold(1, usize::saturating_mul)
    }

    fn settings(&self, schedule: BetaSchedule) -> HostTensor {
        let numbers = [self.extra, self.grid[0], self.grid[1]].map(|number| number as f32);
        let [extra, rows, columns] = numbers;
        HostTensor {
            shape: vec![4],
            values: vec![extra, rows, columns, schedule_number(schedule)],
        }
    }

    /// The shape of every tensor in the file.
    fn shapes(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        let block = vec![self.steps, self.extra + self.added, self.hidden_size];
        let blocks = (0..self.depth).map(move |index| (block_key(index), block.clone()));
        let others = [
            (TIMESTEPS.to_owned(), vec![self.steps]),
            (SETTINGS.to_owned(), vec![4]),
        ];
        blocks.chain(others)
    }
}

const TIMESTEPS: &str = "timesteps";
const SETTINGS: &str = "settings";

fn block_key(block: usize) -> String {
    format!("steps.{block}")
}

/// Reads a baked patch strictly.
pub fn load_baked(file: TensorFile, device: &Device) -> Result<BakedFile, CheckpointError> {
    let kind = AdditionKind::Baked;
    let config: BakedConfig = kind.config(&file)?;
    check_size(config.num_values(), &file.tensors)?;
    let [rows, columns] = config.grid;
    let on_grid = rows.saturating_mul(columns);
    if config.num_values() == 0
        || !has_places(config.grid)
        || (config.added > 0 && config.added != on_grid)
    {
        return Err(kind.bad_config(format!(
            "{} added tokens on a grid of {rows}x{columns}, of {} steps and {} blocks, are no baked patch",
            config.added, config.steps, config.depth
        )));
    }
    check_finite(&file.tensors)?;
    let metadata = PatchMetadata::read(&file, kind)?;
    let mut tensors = of_shapes(file.tensors, config.shapes())?;
    let mut take = |name: &str| tensors.remove(name).map(|tensor| tensor.values);
    if take(SETTINGS) != Some(config.settings(metadata.schedule).values) {
        return Err(kind.bad_config(format!("it disagrees with the tensor '{SETTINGS}'")));
    }
    let timesteps = take(TIMESTEPS).unwrap_or_default();
    // The network's steps, whole numbers that f32 has exactly.
    if let Some(odd) =
        (timesteps.iter()).find(|step| step.fract() != 0.0 || !(0.0..=1e6).contains(*step))
    {
        return Err(kind.bad_config(format!(
            "the tensor '{TIMESTEPS}' holds {odd}, and timesteps are whole numbers from 0"
        )));
    }
    let shape = [
        config.steps,
        config.extra + config.added,
        config.hidden_size,
    ];
    let blocks = (0..config.depth).filter_map(|block| take(&block_key(block)));
    let blocks = blocks.map(|values| Tensor::from_data(TensorData::new(values, shape), device));
    Ok(BakedFile {
        steps: BakedSteps {
            timesteps: timesteps.into_iter().map(|step| step as usize).collect(),
            blocks: blocks.collect(),
            extra: config.extra,
            grid: config.grid,
        },
        config,
        metadata,
    })
}

/// The tensors, if they are of these names and shapes and no others.
fn of_shapes(
    tensors: Tensors,
    shapes: impl Iterator<Item = (String, Vec<usize>)>,
) -> Result<Tensors, Mismatch> {
    let mut mismatch = Mismatch::default();
    let mut left = tensors;
    let mut taken = Tensors::new();
    for (name, wanted) in shapes {
        match left.remove(&name) {
            None => mismatch.missing.push(name),
            Some(tensor) if tensor.shape != wanted => {
                mismatch.misshapen.push((name, wanted, tensor.shape));
            }
            Some(tensor) => {
                taken.insert(name, tensor);
            }
        }
    }
    mismatch.unexpected = left.into_keys().collect();
    if mismatch.is_empty() {
        Ok(taken)
    } else {
        Err(mismatch)
    }
}

/// The file of a patch baked for these steps of a sampler.
pub fn baked_bytes(
    steps: &BakedSteps,
    sampling_steps: &str,
    metadata: &PatchMetadata,
    stored: StoredType,
) -> Result<Vec<u8>, CheckpointError> {
    let config = BakedConfig::of(steps, sampling_steps);
    let mut tensors = Tensors::new();
    for (index, block) in steps.blocks.iter().enumerate() {
        let tensor = HostTensor {
            shape: block.dims().to_vec(),
            values: host::values(block.clone()),
        };
        tensors.insert(block_key(index), tensor);
    }
    check_finite(&tensors)?;
    let timesteps = steps.timesteps.iter().map(|&step| step as f32);
    let timesteps = HostTensor {
        shape: vec![config.steps],
        values: timesteps.collect(),
    };
    tensors.insert(TIMESTEPS.to_owned(), timesteps);
    tensors.insert(SETTINGS.to_owned(), config.settings(metadata.schedule));
    let metadata = metadata.entries(AdditionKind::Baked, &config, &tensors)?;
    Ok(TensorFile { tensors, metadata }.to_bytes(stored)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> TensorFile {
        let device = Device::flex();
        let steps = BakedSteps {
            timesteps: vec![0, 500, 999],
            blocks: vec![Tensor::ones([3, 4, 2], &device)],
            extra: 0,
            grid: [2, 2],
        };
        let metadata = PatchMetadata::default();
        let bytes = baked_bytes(&steps, "3", &metadata, StoredType::F32).unwrap();
        TensorFile::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn timesteps_are_whole_and_grids_have_places() {
        let device = Device::flex();
        let read = load_baked(file(), &device).unwrap();
        assert_eq!(read.steps.timesteps, [0, 500, 999]);
        for odd in [0.5, -1.0, 1e9] {
            let mut file = file();
            file.tensors.get_mut(TIMESTEPS).unwrap().values[1] = odd;
            let error = load_baked(file, &device).unwrap_err().to_string();
            assert!(error.contains(TIMESTEPS), "{error}");
        }
        let key = "dmp.baked";
        let said = &file().metadata[key];
        for grid in ["[0,4]", "[4294967296,4294967296]"] {
            let mut file = file();
            let changed = said.replace("[2,2]", grid);
            assert_ne!(&changed, said);
            file.metadata.insert(key.to_owned(), changed);
            assert!(load_baked(file, &device).is_err(), "{grid}");
        }
    }
}
