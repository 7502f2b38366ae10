//! Whether what is asked for can be had of two sides, before hours go into their features.

use anyhow::{Result, ensure};

use super::figures::{Metric, Request};
use super::side::Side;
use crate::memory::ensure_fits;

/// Refuses metrics asked for by name, and a distance, that sides of these kinds and sizes cannot have.
///
/// # Errors
/// The metric, what there is too little of, and the flag that mends it.
pub fn check(request: &Request, samples: &Side<'_>, reference: &Side<'_>) -> Result<()> {
    let named = |metric| request.metrics.contains(&metric);
    if request.metrics.is_empty() || named(Metric::Fid) || named(Metric::Sfid) {
        enough(
            "a covariance",
            samples,
            "samples",
            2,
            "a larger --count or more images",
        )?;
        enough("a covariance", reference, "reference images", 2, "more")?;
    }
    if request.bootstrap > 0 {
        ensure!(
            request.metrics.is_empty() || named(Metric::Fid),
            "--bootstrap is for the FID, which --metrics leaves out; leave out --bootstrap, or add fid"
        );
        singles("--bootstrap", samples, "samples")?;
    }
    if named(Metric::InceptionScore) {
        ensure!(
            matches!(samples, Side::Images(_) | Side::Inception(_)),
            "--metrics is: the Inception score needs the samples' images; give them, or leave it out"
        );
        let mend = "a smaller --splits or more images";
        enough("--metrics is", samples, "samples", request.splits, mend)?;
    }
    let of_both = [
        (
            Metric::Kid,
            request.kid_subset_size,
            "a smaller --kid-subset-size or more images",
        ),
        (
            Metric::Manifold,
            request.neighbours + 1,
            "fewer --neighbours or more images",
        ),
    ];
    if named(Metric::Kid) {
        // Its subsets' products with each other.
        let bytes = 8 * (request.kid_subset_size as u128).pow(2);
        let what = format!("--kid-subset-size {}", request.kid_subset_size);
        ensure_fits(&what, bytes, "give a smaller one")?;
    }
    for (metric, least, mend) in of_both {
        if named(metric) {
            let what = format!("--metrics {metric}");
            for (side, name) in [(samples, "samples"), (reference, "reference images")] {
                singles(&what, side, name)?;
                enough(&what, side, name, least, mend)?;
            }
        }
    }
    Ok(())
}

/// Statistics have forgotten their images.
fn singles(what: &str, side: &Side<'_>, name: &str) -> Result<()> {
    ensure!(
        !matches!(side, Side::Statistics(_)),
        "{what}: the {name} are statistics, which hold no single images; give images or features"
    );
    Ok(())
}

fn enough(what: &str, side: &Side<'_>, name: &str, least: usize, mend: &str) -> Result<()> {
    let Some(count) = side.count() else {
        return Ok(());
    };
    ensure!(
        count >= least,
        "{what}: {count} {name} are too few, {least} are needed; give {mend}"
    );
    Ok(())
}
