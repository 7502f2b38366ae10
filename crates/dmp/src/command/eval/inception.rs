//! The flags of FID and its kin.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use dmp_model::features::Preprocess;

use crate::evaluate::figures::{Metric, Request};
use crate::evaluate::side::Side;
use crate::flags;

// What torch-fidelity takes.
const KID_SUBSETS: usize = 100;
const KID_SUBSET_SIZE: usize = 1000;
const NEIGHBOURS: usize = 3;
const SPLITS: usize = 10;
const METRIC_SEED: u32 = 2020;

/// How FID and its kin are computed.
#[derive(Debug, Args)]
pub struct InceptionArgs {
    /// Inception's weights: torch-fidelity's or pytorch-fid's .pth, or the TorchScript .pt of StyleGAN and clean-fid
    /// [default: $DMP_INCEPTION, or one in the cache folder]
    #[arg(long)]
    pub(super) inception: Option<PathBuf>,
    /// Whose resizing: torch-fidelity, pytorch-fid or clean
    #[arg(long, default_value_t = Preprocess::TorchFidelity)]
    pub(super) preprocess: Preprocess,
    /// What to compute, of fid, sfid, is, kid, prdc (precision, recall, density, coverage) [default: all that can be]
    #[arg(long, value_delimiter = ',')]
    pub(super) metrics: Vec<Metric>,
    /// Random subsets of the kernel distance
    #[arg(long, default_value_t = KID_SUBSETS, value_parser = flags::repeats)]
    pub(super) kid_subsets: usize,
    /// Images in such a subset
    #[arg(long, default_value_t = KID_SUBSET_SIZE, value_parser = flags::two_or_more)]
    pub(super) kid_subset_size: usize,
    /// Neighbours that precision and recall reach to
    #[arg(long, default_value_t = NEIGHBOURS, value_parser = flags::count)]
    pub(super) neighbours: usize,
    /// Parts of the Inception score
    #[arg(long, default_value_t = SPLITS, value_parser = flags::count)]
    pub(super) splits: usize,
    /// Resamples for a 95 % interval of the FID at this number of images; 0 for none, or at least 20
    #[arg(long, default_value_t = 0, value_parser = flags::resamples)]
    pub(super) bootstrap: usize,
    /// Seed of subsets and shuffles; 2020 is torch-fidelity's
    #[arg(long, default_value_t = METRIC_SEED)]
    pub(super) metric_seed: u32,
    /// Where to keep what the samples come to: a .safetensors of their features, or an .npz of statistics ('mu', 'sigma',
    /// 'mu_s', 'sigma_s'); either can be a --reference
    #[arg(long)]
    pub(super) save: Option<PathBuf>,
}

impl InceptionArgs {
    /// The first of these flags that asks for something; they mean nothing to the embedded network.
    pub fn first_given(&self) -> Option<&'static str> {
        flags::first_given(&[
            ("--inception", self.inception.is_some()),
            ("--preprocess", self.preprocess != Preprocess::TorchFidelity),
            ("--metrics", !self.metrics.is_empty()),
            ("--kid-subsets", self.kid_subsets != KID_SUBSETS),
            ("--kid-subset-size", self.kid_subset_size != KID_SUBSET_SIZE),
            ("--neighbours", self.neighbours != NEIGHBOURS),
            ("--splits", self.splits != SPLITS),
            ("--bootstrap", self.bootstrap != 0),
            ("--metric-seed", self.metric_seed != METRIC_SEED),
            ("--save", self.save.is_some()),
        ])
    }

    /// Refuses flags that what is compared, or what is asked for, has no use for.
    pub(super) fn refuse_idle(&self, sides: [&Side<'_>; 2]) -> Result<()> {
        let images = sides.iter().any(|side| matches!(side, Side::Images(_)));
        let wanted = |metric| self.metrics.is_empty() || self.metrics.contains(&metric);
        let (kid, manifold, score) = (
            wanted(Metric::Kid),
            wanted(Metric::Manifold),
            wanted(Metric::InceptionScore),
        );
        let size = self.kid_subset_size != KID_SUBSET_SIZE;
        let idle = flags::first_given(&[
            ("--inception", !images && self.inception.is_some()),
            (
                "--preprocess",
                !images && self.preprocess != Preprocess::TorchFidelity,
            ),
            ("--kid-subsets", !kid && self.kid_subsets != KID_SUBSETS),
            ("--kid-subset-size", !kid && size),
            ("--neighbours", !manifold && self.neighbours != NEIGHBOURS),
            ("--splits", !score && self.splits != SPLITS),
        ]);
        match idle {
            Some(flag @ ("--inception" | "--preprocess")) => {
                bail!("{flag} is for images, and neither side has any; leave it out")
            }
            Some(flag) => {
                bail!("{flag} is of a metric that --metrics leaves out; leave it out too")
            }
            None => Ok(()),
        }
    }

    pub(super) fn request(&self) -> Request {
        Request {
            metrics: self.metrics.clone(),
            kid_subsets: self.kid_subsets,
            kid_subset_size: self.kid_subset_size,
            neighbours: self.neighbours,
            splits: self.splits,
            bootstrap: self.bootstrap,
            seed: self.metric_seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Command;

    use super::*;
    use crate::sweep::plan::MEASURING;

    /// A sweep draws once for all measurements that differ in these flags alone.
    #[test]
    fn a_sweep_knows_every_flag_that_measures() {
        let command = InceptionArgs::augment_args(Command::new("eval"));
        let flags = command.get_arguments().filter_map(clap::Arg::get_long);
        // Which a recipe cannot give, and which every evaluation has.
        let flags = flags.filter(|flag| *flag != "save").chain(["reference"]);
        assert_eq!(flags.collect::<BTreeSet<_>>(), BTreeSet::from(MEASURING));
    }
}
