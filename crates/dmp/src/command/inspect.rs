//! `dmp inspect`: what the file of a patch, a LoRA or a backbone holds.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::Args;
use dmp_model::checkpoint::{BackboneFile, BakedFile, LoraFile, PatchFile, PatchMetadata};
use dmp_model::patch::{GateKind, GateSharing, PatchConfig};

use crate::gate_view::{self, GateView};
use crate::models::{Addition, is_addition, open_addition, open_backbone};
use crate::output::{check_target_of, say, write_atomic};
use crate::report::table::{Column, Table};

/// Show what a patch, LoRA or backbone file holds
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dmp inspect runs/patch/patch.safetensors --plot gates.svg")]
pub struct InspectArgs {
    /// A patch, a LoRA, or a backbone as --model takes it: 'demo', a .safetensors or .pt file, a run directory, a folder
    /// that diffusers wrote, or owner/name on the hub
    file: String,
    /// Backbone of the patch, to see what its gate does [default: the demo's, if the patch is of it]
    #[arg(long)]
    model: Option<String>,
    /// Draw the masks of every block over timesteps
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn inspect(args: &InspectArgs, device: &Device) -> Result<()> {
    if let Some(path) = &args.plot {
        check_target_of("--plot", path, "svg")?;
    }
    let path = Path::new(&args.file);
    // The name of the embedded model, as for every command, whatever lies in a folder of that name.
    if args.file != "demo" && is_addition(path) {
        return match open_addition(path, device)? {
            Addition::Patch(file) => patch(args, &file, device),
            Addition::Lora(file) => lora(args, &file, device),
            Addition::Baked(file) => baked(args, &file),
        };
    }
    let file = open_backbone(&args.file, device)?;
    anyhow::ensure!(
        args.plot.is_none(),
        "--plot draws a patch's gate; {} is a backbone, which has none",
        args.file
    );
    backbone(&file, args.json)
}

fn backbone(file: &BackboneFile, json: bool) -> Result<()> {
    let config = file.model.config();
    if json {
        let object = serde_json::json!({
            "kind": "backbone",
            "parameters": config.num_params(),
            "fingerprint": file.fingerprint,
            "schedule": file.schedule,
            "config": config,
        });
        say(format_args!("{object:#}"))?;
        return Ok(());
    }
    let schedule = file.schedule.map_or_else(
        || "not said; linear is assumed".to_owned(),
        |schedule| schedule.to_string(),
    );
    let table = facts([
        ("kind", "DiT backbone".to_owned()),
        ("parameters", config.num_params().to_string()),
        (
            "input",
            format!(
                "{}x{}x{}, patches of {}",
                config.in_channels, config.input_size, config.input_size, config.patch_size
            ),
        ),
        (
            "width, depth, heads",
            format!(
                "{}, {}, {}",
                config.hidden_size, config.depth, config.num_heads
            ),
        ),
        ("classes", config.num_classes.to_string()),
        ("noise schedule", schedule),
        ("fingerprint", file.fingerprint.clone()),
    ]);
    say(table.to_string().trim_end())?;
    Ok(())
}

fn patch(args: &InspectArgs, file: &PatchFile, device: &Device) -> Result<()> {
    let view = view(args, file, device)?;
    if let Some(path) = &args.plot {
        let view = view.as_ref().context(
            "--plot: there are no masks to draw; give the patch's backbone with --model (prompt tuning has no masks)",
        )?;
        write_atomic(path, view.to_svg()?.as_bytes())?;
        crate::tell!("{}", path.display());
    }
    let config = file.patch.config();
    if args.json {
        let object = serde_json::json!({
            "kind": "patch",
            "config": config,
            "added_parameters": config.added_params(),
            "schedule": file.metadata.schedule,
            "base_sha256": file.metadata.base_sha256,
            "date": file.metadata.date,
            "gate": view.as_ref().map(GateView::summary),
        });
        say(format_args!("{object:#}"))?;
        return Ok(());
    }
    let table = origin(facts(described(config)), &file.metadata);
    say(table.to_string().trim_end())?;
    match view {
        Some(view) => say(format_args!("\n{}", view.table().to_string().trim_end()))?,
        None if config.gate == GateKind::None => {}
        None => {
            crate::tell!(
                "the gate's masks depend on the backbone; give it with --model to see them"
            )
        }
    }
    Ok(())
}

/// What a patch is, a row each; what is as in the paper is left out where the paper has no word for it.
fn described(config: &PatchConfig) -> Vec<(&'static str, String)> {
    let lower = |text: String| text.to_lowercase();
    let method = match config.gate {
        GateKind::None => "prompt tuning".to_owned(),
        gate => format!("dmp, {gate:?} gate"),
    };
    let looks_at = if config.gate.learns() {
        format!("{:?}", config.gate_input)
    } else {
        "nothing".to_owned()
    };
    let mut rows = vec![
        ("kind", "patch".to_owned()),
        ("method", lower(method)),
        ("position", lower(format!("{:?}", config.position))),
        ("gate looks at", lower(looks_at)),
    ];
    if config.gate_sharing == GateSharing::PerBlock {
        rows.push(("gates", "one a block".to_owned()));
    }
    if config.temperature != 1.0 {
        rows.push(("temperature", config.temperature.to_string()));
    }
    let selected = format!(
        "{}, of which {} are selected",
        config.num_prompts,
        config.k()
    );
    rows.push(("prompts a block", selected));
    if config.patch_below.is_some() {
        rows.push(("acts at", acts_at(config.patch_below)));
    }
    if config.prompt_rank > 0 {
        rows.push(("rank", config.prompt_rank.to_string()));
    }
    if let Some([high, wide]) = config.grid {
        rows.push(("grid of prompts", format!("{high}x{wide}")));
    }
    let size = format!("{}, {}", config.hidden_size, config.depth);
    rows.extend([
        ("width, blocks", size),
        ("added parameters", config.added_params().to_string()),
    ]);
    rows
}

/// Where a patch or LoRA with this limit acts.
fn acts_at(below: Option<usize>) -> String {
    match below {
        Some(below) => format!("timesteps below {below}"),
        None => "all timesteps".to_owned(),
    }
}

fn lora(args: &InspectArgs, file: &LoraFile, device: &Device) -> Result<()> {
    anyhow::ensure!(
        args.plot.is_none(),
        "--plot draws a patch's gate; {} is a LoRA, which has none",
        args.file
    );
    if let Some(name) = &args.model {
        let backbone = open_backbone(name, device)?;
        file.metadata.check_backbone(&backbone.fingerprint)?;
    }
    let config = file.lora.config();
    if args.json {
        let object = serde_json::json!({
            "kind": "lora",
            "config": config,
            "scale": config.scale(),
            "added_parameters": config.added_params(),
            "schedule": file.metadata.schedule,
            "base_sha256": file.metadata.base_sha256,
            "date": file.metadata.date,
        });
        say(format_args!("{object:#}"))?;
        return Ok(());
    }
    let targets: Vec<&str> = config.targets.iter().map(|target| target.name()).collect();
    let table = facts([
        ("kind", "LoRA".to_owned()),
        ("rank", config.rank.to_string()),
        (
            "alpha",
            format!("{}, a scale of {}", config.alpha, config.scale()),
        ),
        ("adapted in every block", targets.join(", ")),
        ("acts at", acts_at(config.patch_below)),
        (
            "width, MLP width, blocks",
            format!(
                "{}, {}, {}",
                config.hidden_size, config.mlp_hidden_size, config.depth
            ),
        ),
        ("added parameters", config.added_params().to_string()),
    ]);
    let table = origin(table, &file.metadata);
    say(table.to_string().trim_end())?;
    Ok(())
}

fn baked(args: &InspectArgs, file: &BakedFile) -> Result<()> {
    anyhow::ensure!(
        args.plot.is_none(),
        "--plot draws a patch's gate; {} is baked, and has none",
        args.file
    );
    let config = &file.config;
    if args.json {
        let object = serde_json::json!({
            "kind": "baked patch",
            "config": config,
            "timesteps": file.steps.timesteps,
            "values": config.num_values(),
            "schedule": file.metadata.schedule,
            "base_sha256": file.metadata.base_sha256,
            "date": file.metadata.date,
        });
        say(format_args!("{object:#}"))?;
        return Ok(());
    }
    let table = facts([
        ("kind", "baked patch".to_owned()),
        (
            "for --sampling-steps",
            format!("{} ({} steps)", config.sampling_steps, config.steps),
        ),
        ("extra tokens", config.extra.to_string()),
        ("tokens added to", config.added.to_string()),
        (
            "width, blocks",
            format!("{}, {}", config.hidden_size, config.depth),
        ),
        ("values", config.num_values().to_string()),
    ]);
    let table = origin(table, &file.metadata);
    say(table.to_string().trim_end())?;
    Ok(())
}

/// When, and for what, an addition to a backbone was made.
fn origin(table: Table, metadata: &PatchMetadata) -> Table {
    [
        ("noise schedule", metadata.schedule.to_string()),
        ("made on", metadata.date.clone()),
        ("backbone", metadata.base_sha256.clone()),
    ]
    .into_iter()
    .fold(table, |table, (name, value)| {
        table.row([name.to_owned(), value])
    })
}

/// What the gate does on the patch's backbone: the one named, or the demo's if the patch is of it.
fn view(args: &InspectArgs, file: &PatchFile, device: &Device) -> Result<Option<GateView>> {
    let backbone = match &args.model {
        Some(name) => open_backbone(name, device)?,
        None => {
            let demo = open_backbone("demo", device)?;
            if file.metadata.check_backbone(&demo.fingerprint).is_err() {
                return Ok(None);
            }
            demo
        }
    };
    file.metadata.check_backbone(&backbone.fingerprint)?;
    let sizes = backbone.model.config();
    (file.patch.config()).validate(sizes.num_tokens(), sizes.hidden_size, sizes.depth)?;
    Ok(gate_view::look(
        &backbone.model,
        backbone.model.config().num_classes,
        &file.patch,
    ))
}

fn facts<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> Table {
    rows.into_iter().fold(
        Table::new([Column::text("what"), Column::text("value")]),
        |table, (name, value)| table.row([name.to_owned(), value]),
    )
}
