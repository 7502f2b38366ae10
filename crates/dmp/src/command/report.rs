//! `dmp report`: how runs trained, side by side.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::output::{check_target_of, say, write_atomic};
use crate::report::chart::{COLOURS, LineChart};
use crate::report::stack;
use crate::report::table::{Column, Table};
use crate::run::{Line, RunDir};

/// Compare how runs trained: their loss, and the entropy of their gates' masks
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dmp report runs/zero runs/random --until 200 --plot curves.svg"
)]
pub struct ReportArgs {
    /// Run directories of 'dmp train' or 'dmp pretrain'
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Look at these first steps alone
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    until: Option<u64>,
    /// Draw the curves into an SVG file
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is told of a run. First and last are means over the steps of a line of its statistics.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Summary {
    run: String,
    steps: u64,
    first_loss: f64,
    last_loss: f64,
    /// Of all lines.
    largest_loss: f64,
    first_entropy: Option<f64>,
    last_entropy: Option<f64>,
    images_per_second: f64,
}

/// Runs the command.
pub fn report(args: &ReportArgs) -> Result<()> {
    if let Some(path) = &args.plot {
        check_target_of("--plot", path, "svg")?;
        ensure!(
            args.runs.len() <= COLOURS.len(),
            "--plot {}: has colours for {} runs; give fewer",
            path.display(),
            COLOURS.len()
        );
    }
    let names = short_names(&args.runs);
    let runs: Vec<Vec<Line>> = (args.runs.iter())
        .map(|run| lines(run, args.until))
        .collect::<Result<_>>()?;
    let summaries: Vec<Summary> = names
        .iter()
        .zip(&runs)
        .map(|(name, lines)| Summary::of(name, lines))
        .collect();
    if let Some(path) = &args.plot {
        write_atomic(path, plot(&names, &runs)?.as_bytes())?;
    }
    if args.json {
        return Ok(say(serde_json::to_string_pretty(&summaries)?)?);
    }
    Ok(say(table(&summaries).to_string().trim_end())?)
}

/// The statistics of a run, up to a step.
fn lines(run: &Path, until: Option<u64>) -> Result<Vec<Line>> {
    let shown = run.display();
    ensure!(
        run.is_dir(),
        "{shown}: is no folder; give a run directory of 'dmp train' or 'dmp pretrain'"
    );
    let mut lines = RunDir::at(run)
        .stats()
        .with_context(|| format!("{shown}"))?;
    lines.retain(|line| until.is_none_or(|until| line.step <= until));
    ensure!(
        !lines.is_empty(),
        "{shown}: has no statistics of training{}; give a run that has begun, or was told --log-every fewer steps",
        until.map_or(String::new(), |until| format!(" up to step {until}"))
    );
    Ok(lines)
}

impl Summary {
    /// Of lines, at least one.
    fn of(name: &str, lines: &[Line]) -> Self {
        let (first, last) = (&lines[0], &lines[lines.len() - 1]);
        let loss = lines.iter().map(|line| line.mean.loss);
        // Each line's images took their own time.
        let ends = lines.iter().map(|line| line.images);
        let starts = std::iter::once(0).chain(ends.clone());
        let images: Vec<f64> = (ends.zip(starts))
            .map(|(end, start)| end.saturating_sub(start) as f64)
            .collect();
        let took = images.iter().zip(lines);
        let seconds: f64 = took
            .map(|(images, line)| images / line.images_per_second)
            .sum();
        Self {
            run: name.to_owned(),
            steps: last.step,
            first_loss: first.mean.loss,
            last_loss: last.mean.loss,
            largest_loss: loss.fold(f64::NEG_INFINITY, f64::max),
            first_entropy: first.mean.gate_entropy,
            last_entropy: last.mean.gate_entropy,
            images_per_second: images.iter().sum::<f64>() / seconds,
        }
    }
}

fn table(summaries: &[Summary]) -> Table {
    let entropies = summaries.iter().any(|run| run.first_entropy.is_some());
    let mut columns = vec![Column::text("run")];
    let numbers = ["steps", "loss, first", "last", "largest", "images/s"];
    columns.extend(numbers.map(Column::number));
    if entropies {
        columns.extend(["masks' entropy, first", "last"].map(Column::number));
    }
    let mut table = Table::new(columns);
    for run in summaries {
        let loss = |loss: f64| format!("{loss:.5}");
        let mut cells = vec![
            run.run.clone(),
            run.steps.to_string(),
            loss(run.first_loss),
            loss(run.last_loss),
            loss(run.largest_loss),
            format!("{:.0}", run.images_per_second),
        ];
        if entropies {
            for entropy in [run.first_entropy, run.last_entropy] {
                cells.push(entropy.map_or(String::new(), |entropy| format!("{entropy:.4}")));
            }
        }
        table.push(cells);
    }
    table
}

fn plot(names: &[String], runs: &[Vec<Line>]) -> Result<String> {
    let chart = |label: &str, value: &dyn Fn(&Line) -> Option<f64>| {
        let series = names.iter().zip(runs);
        series.fold(
            LineChart::new(label).axes("step", label),
            |chart, (name, lines)| {
                let point = |line: &Line| Some((line.step as f64, value(line)?));
                chart.series(name, lines.iter().filter_map(point))
            },
        )
    };
    let mut charts = vec![chart("loss", &|line| Some(line.mean.loss)).to_svg()?];
    let entropy = |line: &Line| line.mean.gate_entropy;
    if runs.iter().flatten().any(|line| entropy(line).is_some()) {
        charts.push(chart("masks' entropy over ln N", &entropy).to_svg()?);
    }
    Ok(stack(&charts))
}

/// The runs' paths without the folders that all of them begin and end with.
fn short_names(runs: &[PathBuf]) -> Vec<String> {
    let parts: Vec<Vec<String>> = (runs.iter())
        .map(|run| {
            let parts = run.components();
            parts
                .map(|part| part.as_os_str().to_string_lossy().into_owned())
                .collect()
        })
        .collect();
    let shortest = parts.iter().map(Vec::len).min().unwrap_or(0);
    let alike = |place: &dyn Fn(&[String]) -> String| {
        parts.iter().all(|run| place(run) == place(&parts[0]))
    };
    // One part is left of each, whatever they share.
    let start = (0..shortest.saturating_sub(1))
        .take_while(|&at| alike(&|run| run[at].clone()))
        .count();
    let end = (0..shortest.saturating_sub(start + 1))
        .take_while(|&at| alike(&|run| run[run.len() - 1 - at].clone()))
        .count();
    let name = |run: &Vec<String>| run[start..run.len() - end].join("/");
    parts.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_all_images_in_all_the_time() {
        let line = |images, images_per_second| Line {
            step: images,
            images,
            mean: Default::default(),
            images_per_second,
            began_at_mse: None,
        };
        let summary = Summary::of("a", &[line(40, 10.0), line(80, 40.0)]);
        assert!((summary.images_per_second - 80.0 / 5.0).abs() < 1e-9);
    }

    #[test]
    fn names_lose_what_all_share() {
        let names =
            |runs: &[&str]| short_names(&runs.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(
            names(&["runs/add-1/seed-4", "runs/mix-2/seed-4"]),
            ["add-1", "mix-2"]
        );
        assert_eq!(names(&["runs/a"]), ["a"]);
        assert_eq!(names(&["a", "b/a"]), ["a", "b/a"]);
        assert_eq!(names(&["x/a", "x/a"]), ["a", "a"]);
    }
}
