//! The embedded demo: images, feature network, reference statistics and backbone, each made from Fashion-MNIST.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

pub mod backbone;
mod features;
mod images;
mod notice;
mod source;
mod statistics;

const FEATURES: &str = "features.safetensors";

/// What to rebuild, and from where.
#[derive(clap::Args)]
pub struct Args {
    /// Which asset to rebuild
    #[arg(value_enum, default_value_t = Asset::All)]
    asset: Asset,

    /// Folder of Fashion-MNIST's four .gz files; Debian's package dataset-fashion-mnist installs them here
    #[arg(long, default_value = "/usr/share/datasets/fashion-mnist")]
    source: PathBuf,

    /// Run directory of the backbone's pre-training; an interrupted one is gone on with
    #[arg(long, default_value = "runs/backbone")]
    run: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Asset {
    /// The 20 000 training images
    Images,
    /// The feature network: a quarter of an hour
    Features,
    /// Mean and covariance of the network's features
    Statistics,
    /// The same of each class
    ClassStatistics,
    /// The backbone: hours
    Backbone,
    /// Everything, in order
    All,
    /// Train the feature network without some training images and test it on those; writes nothing
    FeaturesCheck,
}

/// Rebuilds the chosen assets in the workspace's `assets/`.
pub fn run(args: &Args) -> Result<()> {
    let Args { asset, source, run } = args;
    match asset {
        Asset::Images => images(source),
        Asset::Features => features(source),
        Asset::Statistics => statistics(source),
        Asset::ClassStatistics => class_statistics(source),
        Asset::Backbone => backbone(run),
        Asset::All => images(source)
            .and_then(|()| features(source))
            .and_then(|()| statistics(source))
            .and_then(|()| class_statistics(source))
            .and_then(|()| backbone(run)),
        Asset::FeaturesCheck => features::check(source),
    }
}

fn images(source: &Path) -> Result<()> {
    write("fashion.png", &images::encode(&source::train(source)?)?)
}

fn features(source: &Path) -> Result<()> {
    write(FEATURES, &features::build(source)?)
}

fn backbone(run: &Path) -> Result<()> {
    write("backbone.safetensors", &backbone::build(run)?)
}

fn statistics(source: &Path) -> Result<()> {
    let network = read(FEATURES)?;
    write(
        "statistics.safetensors",
        &statistics::build(source, &network)?,
    )
}

fn class_statistics(source: &Path) -> Result<()> {
    let network = read(FEATURES)?;
    write(
        "class-statistics.safetensors",
        &statistics::build_by_class(source, &network)?,
    )
}

/// Writes one asset and brings `NOTICE` up to date.
fn write(name: &str, bytes: &[u8]) -> Result<()> {
    let notice = String::from_utf8(read("NOTICE")?).context("assets/NOTICE is no text")?;
    let notice = notice::record(&notice, name, bytes)?;
    for (name, bytes) in [(name, bytes), ("NOTICE", notice.as_bytes())] {
        let path = asset_path(name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("assets/{name}: {} bytes", bytes.len());
    Ok(())
}

fn read(name: &str) -> Result<Vec<u8>> {
    let path = asset_path(name);
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn asset_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../assets")
        .join(name)
}
