//! `dmp bake`: a patch without its gate, for the steps of one sampler.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use clap::Args;
use dmp_math::diffusion::Diffusion;
use dmp_math::seed::{Purpose, stream};
use dmp_model::baked::Baked;
use dmp_model::checkpoint::{StoredType, TensorFile, baked_bytes, load_baked};
use dmp_model::denoiser::Denoiser;
use dmp_model::dit::Dit;
use dmp_model::host;
use dmp_model::patched::Patched;
use serde_json::json;

use crate::DIFFUSION_STEPS;
use crate::flags;
use crate::models::{Addition, addition_path, open_addition, open_backbone};
use crate::output::{check_target_of, refuse_replacing, say, write_atomic};

/// Turn a patch's gate and prompts into what they come to at each step of one sampler, for programs that know no gate
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dmp bake runs/patch/patch.safetensors --sampling-steps 50 --out baked.safetensors\n  \
                  dmp sample --model demo --patch baked.safetensors --count 64 --grid grid.png"
)]
pub struct BakeArgs {
    /// The patch: its file or its run directory. Its gate must not look at labels (--gate-input timestep)
    patch: PathBuf,
    /// Its backbone: 'demo', a .safetensors or .pt file, a run directory, a folder that diffusers wrote, or owner/name
    /// on the hub
    #[arg(long, default_value = "demo")]
    model: String,
    /// Steps of the sampler, as 'dmp sample' takes them
    #[arg(long, default_value = "50")]
    sampling_steps: String,
    /// Use the patch at timesteps below this one only, and the backbone alone at noisier ones [default: as it was trained]
    #[arg(long, value_parser = flags::timestep)]
    patch_below: Option<usize>,
    /// File to write
    #[arg(long)]
    out: PathBuf,
    /// Store 16-bit floats: half the size
    #[arg(long)]
    half: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn bake(args: &BakeArgs, device: &Device) -> Result<()> {
    check_target_of("--out", &args.out, "safetensors")?;
    refuse_replacing("--out", &args.out, &addition_path(&args.patch))?;
    let shown = || format!("patch {}", args.patch.display());
    let backbone = open_backbone(&args.model, device)?;
    let file = match open_addition(&args.patch, device)? {
        Addition::Patch(file) => file,
        Addition::Lora(_) => bail!(
            "{}: a LoRA has no gate, so there is nothing to bake; 'dmp sample' takes it as it is",
            shown()
        ),
        Addition::Baked(_) => bail!(
            "{}: is baked already; give the patch it was made of",
            shown()
        ),
    };
    file.metadata
        .check_backbone(&backbone.fingerprint)
        .with_context(shown)?;
    let diffusion = Diffusion::new(file.metadata.schedule, DIFFUSION_STEPS)
        .respaced(&args.sampling_steps)
        .context("--sampling-steps")?;
    let mut patched = Patched::new(backbone.model, file.patch)?;
    if let Some(below) = args.patch_below {
        patched = patched
            .acting_below(flags::limit(below))
            .context("--patch-below")?;
    }
    let labels = patched.backbone().config().label_rows();
    let steps = patched
        .bake(diffusion.timestep_map(), labels)
        .with_context(shown)?;
    let stored = match args.half {
        true => StoredType::F16,
        false => StoredType::F32,
    };
    let bytes = baked_bytes(&steps, &args.sampling_steps, &file.metadata, stored)?;
    // What is in the file is compared, not what it was made of.
    let written = load_baked(TensorFile::from_bytes(&bytes)?, device)?;
    let baked = Baked::new(patched.backbone().clone(), written.steps)?;
    let difference = difference(&patched, &baked, device);
    ensure!(
        difference.is_finite(),
        "{}: predictions with it are no finite numbers; train it again with a lower learning rate{}",
        shown(),
        if args.half {
            ", or leave --half out"
        } else {
            ""
        }
    );
    ensure!(
        args.half || difference < SAME,
        "the baked patch differs from the patch by {difference:.1e} of the prediction; this is a fault of the program, \
         please report it"
    );
    write_atomic(&args.out, &bytes)?;
    report(args, baked.timesteps().len(), bytes.len(), difference)
}

/// Rounding of sums in f32, and far less than any image shows.
const SAME: f64 = 1e-5;

/// Largest ‖baked − patched‖ / ‖patched‖ of a prediction, at every step and with a label each; no number where a prediction
/// holds none.
fn difference(patched: &Patched<Dit>, baked: &Baked<Dit>, device: &Device) -> f64 {
    let layout = patched.layout();
    let classes = patched.backbone().config().num_classes;
    let mut largest: f64 = 0.0;
    for (index, &timestep) in baked.timesteps().iter().enumerate() {
        let mut values = vec![0.0; layout.len()];
        stream(0, Purpose::Noise, index as u64).fill_normal(&mut values);
        let shape = [1, layout.channels, layout.height, layout.width];
        let x = Tensor::<4>::from_data(TensorData::new(values, shape), device);
        let label = [index % classes];
        let of = |model: &dyn Denoiser| host::values(model.predict(x.clone(), &[timestep], &label));
        let (found, wanted) = (of(baked), of(patched));
        let norm = |values: &mut dyn Iterator<Item = f32>| {
            values.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt()
        };
        let off = norm(&mut found.iter().zip(&wanted).map(|(a, b)| a - b));
        let of_wanted = norm(&mut wanted.iter().copied());
        let share = off / of_wanted.max(f64::MIN_POSITIVE);
        if !share.is_finite() {
            return f64::NAN;
        }
        largest = largest.max(share);
    }
    largest
}

fn report(args: &BakeArgs, steps: usize, bytes: usize, difference: f64) -> Result<()> {
    if args.json {
        let object = json!({
            "file": args.out,
            "steps": steps,
            "bytes": bytes,
            "largest_relative_difference": difference,
        });
        say(format_args!("{object:#}"))?;
    } else {
        crate::tell!(
            "{steps} steps, {:.1} MB, off by at most {difference:.0e} of a prediction",
            bytes as f64 / 1e6
        );
        say(args.out.display())?;
    }
    Ok(())
}
