//! The embedded demo: images, feature network and reference statistics, each made from Fashion-MNIST.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

mod features;
mod images;
mod source;

/// What to rebuild, and from where.
#[derive(clap::Args)]
pub struct Args {
    /// Which asset to rebuild
    #[arg(value_enum, default_value_t = Asset::All)]
    asset: Asset,

    /// Folder of Fashion-MNIST's four .gz files; Debian's package dataset-fashion-mnist installs them here
    #[arg(long, default_value = "/usr/share/datasets/fashion-mnist")]
    source: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Asset {
    /// The 20 000 training images
    Images,
    /// The feature network: about ten minutes
    Features,
    /// Train the feature network without some training images and test it on those; writes nothing
    FeaturesCheck,
    /// Everything, in order
    All,
}

/// Rebuilds the chosen assets in the workspace's `assets/`.
pub fn run(args: &Args) -> Result<()> {
    if matches!(args.asset, Asset::Images | Asset::All) {
        write(
            "fashion.png",
            &images::encode(&source::train(&args.source)?)?,
        )?;
    }
    if args.asset == Asset::FeaturesCheck {
        features::check(&args.source)?;
    }
    if matches!(args.asset, Asset::Features | Asset::All) {
        write("features.safetensors", &features::build(&args.source)?)?;
    }
    Ok(())
}

/// Writes one asset and says how large it is.
fn write(name: &str, bytes: &[u8]) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../assets")
        .join(name);
    std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    println!("assets/{name}: {} bytes", bytes.len());
    Ok(())
}
