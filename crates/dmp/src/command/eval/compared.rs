//! With Inception's features, or features that both sides bring.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use burn::tensor::Device;
use dmp_model::features::Inception;
use serde_json::json;

use super::EvalArgs;
use super::inception::InceptionArgs;
use super::save::Save;
use crate::evaluate::cache::Slot;
use crate::evaluate::extract::Extractor;
use crate::evaluate::feasible;
use crate::evaluate::figures::{Figures, Request, figures};
use crate::evaluate::pictures::Pictures;
use crate::evaluate::side::{self, Side};
use crate::evaluate::weights::{self, Weights};
use crate::flags;
use crate::output::{is_within, refuse_replacing, say};
use crate::sampling::Drawing;

/// With Inception's features, or features that both sides bring.
pub fn compared(args: &EvalArgs, device: &Device) -> Result<()> {
    if args.samples.is_some() {
        let flag = flags::first_given(&[
            ("--patch", args.patch.is_some()),
            ("--out", args.out.is_some()),
            ("--model", args.model != "demo"),
        ]);
        if let Some(flag) = flag.or_else(|| args.sampling.first_given()) {
            bail!("{flag} is for what a model draws, not for given images; leave out one of them");
        }
    }
    // Before hours of sampling: whether there is a place for what comes of them.
    let save = args.inception.save.as_deref();
    let save = save.map(Save::to).transpose()?;
    let reference_path = Path::new(&args.reference);
    if let Some(save) = &args.inception.save {
        refuse_replacing("--save", save, reference_path)?;
        if let Some(samples) = &args.samples {
            refuse_replacing("--save", save, samples)?;
        }
    }
    if let Some(out) = &args.out {
        ensure!(
            args.inception.save.as_ref() != Some(out),
            "--save {}: that is the folder of --out; give another name",
            out.display()
        );
        ensure!(
            !is_within(out, reference_path),
            "--out {}: lies within --reference {}, whose images it would add to; give another folder",
            out.display(),
            args.reference
        );
    }
    ensure!(
        reference_path.exists(),
        "--reference {}: no such file or folder; give one, or held-out, validation or train",
        args.reference
    );
    let reference = side::open(reference_path)?;
    let drawn;
    let samples = match &args.samples {
        Some(path) => {
            ensure!(
                path.exists(),
                "{}: no such file or folder; give images, statistics or features to measure",
                path.display()
            );
            side::open(path)?
        }
        None => {
            if let Some(classes) = &args.sampling.class {
                crate::tell!(
                    "note: --class {classes} says what is drawn; it is held against all images of --reference {}",
                    args.reference
                );
            }
            drawn = super::model(args, device)?;
            let out = args.out.as_deref().filter(|_| !args.dry_run);
            let drawing = Drawing::new(&drawn, &args.sampling, out, device)?;
            Side::Images(Pictures::drawn(drawing))
        }
    };
    let request = args.inception.request();
    feasible::check(&request, &samples, &reference)?;
    args.inception.refuse_idle([&samples, &reference])?;
    let mut seen = Seen {
        args: &args.inception,
        weights: None,
        device,
    };
    if args.dry_run {
        seen.weights_for([&reference, &samples])?;
        return Err(super::nothing_measured());
    }
    // The reference first: it may be in the cache, and what is wrong with it shows before hours of sampling.
    let reference = seen.side(reference, "reference")?;
    let samples = seen.side(samples, "samples")?;
    if let Some(save) = save {
        save.write(&samples)?;
    }
    let found = figures(&samples, &reference, &request)?;
    warn_if_few(&samples);
    warn_if_few(&reference);
    if args.json {
        print_json(
            args,
            &found,
            &request,
            seen.weights.as_ref(),
            [&samples, &reference],
        )?;
    } else {
        print_lines(&found)?;
    }
    Ok(())
}

/// Inception, opened once when it is first needed.
struct Seen<'a> {
    args: &'a InceptionArgs,
    weights: Option<Weights>,
    device: &'a Device,
}

impl Seen<'_> {
    /// Opens the weights if a side needs them.
    fn weights_for(&mut self, sides: [&Side<'_>; 2]) -> Result<()> {
        if sides.iter().any(|side| matches!(side, Side::Images(_))) {
            self.open()?;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<&Weights> {
        Ok(match &mut self.weights {
            Some(weights) => weights,
            none => none.insert(weights::open(self.args.inception.as_deref(), self.device)?),
        })
    }

    /// The side with its features taken. Those of files are kept for the next run.
    fn side<'s>(&mut self, side: Side<'s>, name: &'static str) -> Result<Side<'s>> {
        let Side::Images(pictures) = side else {
            return Ok(side);
        };
        let (args, device) = (self.args, self.device);
        let weights = self.open()?;
        let slot = match pictures.source() {
            Some(source) => Slot::of(source, &weights.sha256, args.preprocess)?,
            None => None,
        };
        if let Some(extracted) = slot.as_ref().and_then(Slot::read) {
            return Ok(Side::Inception(extracted));
        }
        let extractor = Extractor {
            network: &weights.network,
            preprocess: args.preprocess,
            device,
        };
        let extracted = extractor.all(pictures, name)?;
        if let Some(slot) = slot {
            slot.write(&extracted);
        }
        Ok(Side::Inception(extracted))
    }
}

/// Images on a side, where it says.
fn warn_if_few(side: &Side<'_>) {
    if let (Side::Inception(_), Some(count)) = (side, side.count())
        && count <= Inception::FEATURES
    {
        crate::tell!(
            "note: {count} images do not determine a covariance of {} features; a distance of so few is too large and \
             compares only with others of as many (10 000 or more are usual)",
            Inception::FEATURES
        );
    }
}

fn print_json(
    args: &EvalArgs,
    figures: &Figures,
    request: &Request,
    weights: Option<&Weights>,
    [samples, reference]: [&Side<'_>; 2],
) -> Result<()> {
    let mut object = serde_json::to_value(figures)?;
    let rest = json!({
        "samples": args.samples.as_ref().map_or_else(|| args.model.clone(), |path| path.display().to_string()),
        "patch": args.patch.as_ref().map(|path| path.display().to_string()),
        "reference": args.reference,
        "samples_count": samples.count(),
        "reference_count": reference.count(),
        "definition": {
            "network": weights.map(|_| "Inception-v3 of 2015-12-05, FID variant"),
            "inception_sha256": weights.map(|weights| weights.sha256.clone()),
            "preprocess": weights.map(|_| args.inception.preprocess.name()),
            "covariance": "unbiased (n - 1), f64",
            "settings": request,
        },
        "sampling": args.samples.is_none().then_some(&args.sampling),
    });
    if let (Some(object), serde_json::Value::Object(rest)) = (object.as_object_mut(), rest) {
        object.extend(rest);
    }
    say(format_args!("{object:#}"))?;
    Ok(())
}

fn print_lines(figures: &Figures) -> Result<()> {
    let line = |name: &str, value: Option<f64>, spread: Option<f64>| match (value, spread) {
        (None, _) => Ok(()),
        (Some(value), None) => say(format_args!("{name}: {value:.4}")),
        (Some(value), Some(spread)) => say(format_args!("{name}: {value:.4} ± {spread:.4}")),
    };
    line("FID", figures.fid, None)?;
    if let Some([low, high]) = figures.fid_interval {
        say(format_args!(
            "FID, 95 % of resamples: {low:.4} to {high:.4}"
        ))?;
    }
    line("FID, of the means alone", figures.fid_of_means, None)?;
    line("sFID", figures.sfid, None)?;
    line(
        "Inception score",
        figures.inception_score,
        figures.inception_score_std,
    )?;
    line("KID", figures.kid, figures.kid_std)?;
    line("precision", figures.precision, None)?;
    line("recall", figures.recall, None)?;
    line("density", figures.density, None)?;
    line("coverage", figures.coverage, None)?;
    Ok(())
}
