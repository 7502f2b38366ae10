//! `dmp sweep`: settings × seeds, each trained and measured, and one table of what came of them.

mod folder;
mod images;
mod program;
mod running;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::device::DeviceName;
use crate::output::say;
use crate::run::Interrupt;
use crate::sweep::plan::shell;
use crate::sweep::record::Records;
use crate::sweep::{Elsewhere, Plan, Recipe, Results};
use folder::Folder;
use program::Program;
use running::Sweep;

/// Train and measure settings with several seeds, and make one table of them; rerun the same command to go on, or after a
/// change of the recipe to do what is new
#[derive(Debug, Args)]
#[command(after_help = "\
A recipe has the flags of 'dmp train' and 'dmp eval' by their long names:

  out = \"runs/order\"                # folder of the sweep, which recipes can share
  seeds = [4, 5, 6]
  keep-images = true                # images that are measured stay there, too, for other recipes; else they go
  [train]                           # what all settings have
  steps = 2000
  batch = 512
  [eval]                            # or several [[eval]], each with a 'name'
  count = 10000
  reference = \"held-out\"
  [[setting]]
  name = \"base\"
  base = true                       # nothing is trained; changes are against it
  [[setting]]
  name = \"mixture\"
  train = { position = \"mix\", prompts = 8 }
  [grid]                            # every combination is a setting too
  method = [\"prompt-tuning\"]
  prompt-rate = [0.01, 0.1]

OUT then has the results, of order.toml in results-order.md, .json and .svg, written after every step.

Example:
  dmp sweep recipes/order.toml")]
pub struct SweepArgs {
    /// The recipe, a .toml file
    recipe: PathBuf,
    /// Print every command and whether it is done, and run none
    #[arg(long)]
    dry_run: bool,
    /// Print the table of what is done so far, and run nothing
    #[arg(long, conflicts_with = "dry_run")]
    table: bool,
    /// A folder of records that a sweep of the same settings made elsewhere, whatever it calls them: its OUT/*/*.json, laid out as
    /// there. A setting and seed that is whole there counts as done. May be given several times
    #[arg(long, value_name = "FOLDER")]
    records: Vec<PathBuf>,
    /// Print how much every setting differs from this one, in points by seed, below the table; changes in the table are against
    /// the base
    #[arg(long, value_name = "SETTING", conflicts_with = "dry_run")]
    against: Option<String>,
}

/// Runs the command. `understood` says what is wrong with a command line, if anything is.
pub fn sweep(
    args: &SweepArgs,
    device: DeviceName,
    understood: fn(&[String]) -> Result<(), String>,
) -> Result<()> {
    let recipe = Recipe::read(&args.recipe)?;
    let shown = || format!("recipe {}", args.recipe.display());
    for folder in &args.records {
        ensure!(
            folder.is_dir(),
            "--records {}: is no folder; give one of records that a sweep made",
            folder.display()
        );
        ensure!(
            holds_records(folder),
            "--records {}: holds no records (SETTING/seed-N.….json); give the folder that the settings' folders are in",
            folder.display()
        );
        ensure!(
            folder.canonicalize().ok() != recipe.out.canonicalize().ok(),
            "--records {}: is where this sweep keeps its own; leave it out",
            folder.display()
        );
    }
    let folder = Folder::of(&recipe.out, &args.recipe).with_context(shown)?;
    let plan = Plan::new(recipe, &folder.names()?);
    check_words(&plan, understood).with_context(shown)?;
    if args.dry_run {
        return print_plan(&plan, Elsewhere(&args.records));
    }
    if args.table {
        return print_table(&plan, Elsewhere(&args.records), args.against.as_deref());
    }
    // Whatever is wrong with it is known before anything is done.
    differences(&Results::of(&plan, &[]), args.against.as_deref())?;
    let program = Program::this(device, Interrupt::listen_in_silence())?;
    let pages = folder.pages();
    let mut sweep = Sweep::new(&plan, Elsewhere(&args.records), program, pages);
    sweep.check().with_context(shown)?;
    let _lock = folder.begin()?;
    sweep.run()?;
    let results = sweep.write()?;
    print_results(&results, args.against.as_deref())?;
    crate::tell!("{}", folder.pages().text().display());
    Ok(())
}

/// Whether there is a record of anything, a folder below.
fn holds_records(folder: &Path) -> bool {
    let inside = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    inside(folder).any(|setting| {
        inside(&setting.path()).any(|file| {
            let name = file.file_name();
            let name = name.to_string_lossy();
            name.starts_with("seed-") && name.ends_with(".json")
        })
    })
}

/// Refuses flags that the commands do not have, or values that these do not take, before anything is done.
fn check_words(plan: &Plan, understood: fn(&[String]) -> Result<(), String>) -> Result<()> {
    for step in plan.steps() {
        understood(&plan.words(step))
            .map_err(|reason| anyhow::anyhow!("{}: {reason}", plan.place(step)))?;
    }
    Ok(())
}

/// What is found so far.
fn print_table(plan: &Plan, elsewhere: Elsewhere<'_>, against: Option<&str>) -> Result<()> {
    let mut records = Records::new(plan, elsewhere);
    let steps = plan.steps();
    let found = steps.iter().map(|step| records.current(*step));
    let results = Results::of(plan, &found.collect::<Result<Vec<_>>>()?);
    print_results(&results, against)?;
    crate::tell!(
        "{} of {} steps are done; nothing was run",
        results.done,
        results.steps
    );
    Ok(())
}

fn print_results(results: &Results, against: Option<&str>) -> Result<()> {
    say(results.table().to_markdown().trim_end())?;
    match differences(results, against)? {
        Some(text) => Ok(say(text.trim_end())?),
        None => Ok(()),
    }
}

/// What is to be said of the setting that others are held against, if one is given.
fn differences(results: &Results, against: Option<&str>) -> Result<Option<String>> {
    let text = against.map(|name| {
        let text = results.against(name);
        text.map_err(|reason| anyhow::anyhow!("--against '{name}': {reason}"))
    });
    text.transpose()
}

/// Every command, and whether it is done.
fn print_plan(plan: &Plan, elsewhere: Elsewhere<'_>) -> Result<()> {
    let mut records = Records::new(plan, elsewhere);
    let (mut done, steps) = (0, plan.steps());
    for &step in &steps {
        let mark = match records.current(step)? {
            Some(_) => "done ",
            None => "to do",
        };
        done += usize::from(mark == "done ");
        say(format_args!("{mark}  dmp {}", shell(&plan.words(step))))?;
    }
    crate::tell!("{done} of {} steps are done; nothing was run", steps.len());
    Ok(())
}
