//! Whether what a model's file, its user and its data say of it agrees.

use anyhow::{Result, bail};
use dmp_math::schedule::BetaSchedule;
use dmp_model::denoiser::ImageLayout;

use crate::data::Dataset;

/// The noise schedule of a model: what its file says, else what the user says with `--schedule`, else linear as for
/// the public checkpoints. A user who contradicts the file is refused.
pub fn schedule_of(
    said: Option<BetaSchedule>,
    asked: Option<BetaSchedule>,
) -> Result<BetaSchedule> {
    if let (Some(said), Some(asked)) = (said, asked)
        && said != asked
    {
        bail!("--schedule {asked}: the model was trained with {said}; leave the flag out");
    }
    Ok(said.or(asked).unwrap_or_default())
}

/// Refuses data that a model of `layout` and `known` classes was not made for; `name` is what the user calls the data.
pub fn check_data(data: &Dataset, name: &str, layout: ImageLayout, known: usize) -> Result<()> {
    let shape = data.shape();
    anyhow::ensure!(
        (layout.channels, layout.height, layout.width)
            == (shape.channels, shape.height, shape.width),
        "the model takes {}x{}x{} images, data '{name}' has {}x{}x{}; give the data the model was trained on",
        layout.channels,
        layout.height,
        layout.width,
        shape.channels,
        shape.height,
        shape.width
    );
    let classes = data.num_classes();
    if known > 1 && classes == 1 {
        crate::tell!(
            "note: data '{name}' has no classes, the model {known}; every image is taken for one of class 0 (a sub-folder \
             a class tells them apart)"
        );
    }
    if classes > 1 && classes < known {
        crate::tell!(
            "note: data '{name}' has {classes} classes, the model {known}; they are taken for its first {classes}, 0 to {} (empty \
             sub-folders keep the numbers of classes without images)",
            classes - 1
        );
    }
    anyhow::ensure!(
        known == 1 || classes <= known,
        "data '{name}' has {classes} classes, the model {known}; give the data the model was trained on (a class is a sub-folder with \
         images, or an empty one)"
    );
    Ok(())
}
