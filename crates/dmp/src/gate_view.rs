//! What a gate has learnt: its masks over timesteps, block by block.

use anyhow::Result;
use dmp_math::entropy::normalised_entropy;
use dmp_model::denoiser::Backbone;
use dmp_model::host;
use dmp_model::patch::{GateKind, Patch};
use serde_json::{Value, json};

use crate::DIFFUSION_STEPS;
use crate::report::Svg;
use crate::report::heatmap::{Axis, HeatMap};
use crate::report::table::{Column, Table};

/// Timesteps looked at, from the noisiest to the cleanest.
const ROWS: usize = 50;

/// Masks of every patched block.
#[derive(Debug, Clone, PartialEq)]
pub struct GateView {
    /// Timestep of each row.
    pub timesteps: Vec<usize>,
    /// Prompts N.
    pub prompts: usize,
    /// For each block its masks `[timesteps, N]`, averaged over classes.
    pub blocks: Vec<Vec<f32>>,
    /// For each block and timestep the masks' entropy over ln N, averaged over classes.
    entropies: Vec<Vec<f64>>,
}

/// Asks the gate of `patch` for its masks on `backbone` under each of its `classes`; `None` for a patch
/// without masks (prompt tuning).
pub fn look(backbone: &impl Backbone, classes: usize, patch: &Patch) -> Option<GateView> {
    if patch.config().gate == GateKind::None {
        return None;
    }
    // Those at which it acts.
    let end = patch.config().patch_below.unwrap_or(DIFFUSION_STEPS);
    let last = ROWS.min(end) - 1;
    let timesteps: Vec<usize> = (0..=last)
        .rev()
        .map(|row| row * (end - 1) / last.max(1))
        .collect();
    let prompts = patch.config().num_prompts;
    let depth = patch.config().depth;
    let (mut blocks, mut entropies) = (vec![Vec::new(); depth], vec![Vec::new(); depth]);
    // A timestep at a time: all classes at all of them may be gigabytes.
    let labels: Vec<usize> = (0..classes).collect();
    for &timestep in &timesteps {
        let condition = backbone.condition(&vec![timestep; classes], &labels);
        for (block, masks) in patch.masks(&condition).into_iter().enumerate() {
            let rows = host::values(masks);
            blocks[block].extend(mean_row(&rows, prompts));
            let entropy: f64 = rows.chunks(prompts).map(normalised_entropy).sum();
            entropies[block].push(entropy / classes as f64);
        }
    }
    Some(GateView {
        timesteps,
        prompts,
        blocks,
        entropies,
    })
}

fn mean_row(rows: &[f32], width: usize) -> Vec<f32> {
    let count = (rows.len() / width).max(1) as f32;
    (0..width)
        .map(|column| rows.iter().skip(column).step_by(width).sum::<f32>() / count)
        .collect()
}

impl GateView {
    fn rows(&self, block: usize) -> std::slice::Chunks<'_, f32> {
        self.blocks[block].chunks(self.prompts.max(1))
    }

    /// Mean entropy over ln N of one block's masks, over the timesteps from `from` to `to`; nothing where it acts at none of them.
    fn entropy(&self, block: usize, from: usize, to: usize) -> Option<f64> {
        let at = self.entropies[block].iter().zip(&self.timesteps);
        let chosen: Vec<f64> = at
            .filter(|(_, t)| (from..to).contains(*t))
            .map(|(entropy, _)| *entropy)
            .collect();
        (!chosen.is_empty()).then(|| chosen.iter().sum::<f64>() / chosen.len() as f64)
    }

    /// Largest mask entry times N (1 when uniform), and how far the mask moves from the
    /// noisiest timestep to the cleanest (half the sum of absolute differences, from 0 to 1).
    fn extremes(&self, block: usize) -> (f64, f64) {
        let largest = self.rows(block).flatten().copied().fold(0.0, f32::max);
        let (first, last) = (
            self.rows(block).next().unwrap_or_default(),
            self.rows(block).last().unwrap_or_default(),
        );
        let moved: f32 = first.iter().zip(last).map(|(a, b)| (a - b).abs()).sum();
        (
            f64::from(largest) * self.prompts as f64,
            f64::from(moved) / 2.0,
        )
    }

    /// One row a block: entropy at three noise levels, the largest weight, how far the mask moves.
    pub fn table(&self) -> Table {
        let columns = [
            Column::number("block"),
            Column::number("entropy, t < 333"),
            Column::number("333 to 666"),
            Column::number("t > 666"),
            Column::number("largest weight × N"),
            Column::number("moves with t"),
        ];
        (0..self.blocks.len()).fold(Table::new(columns), |table, block| {
            let (largest, moved) = self.extremes(block);
            let third = |from, to| match self.entropy(block, from, to) {
                Some(entropy) => format!("{entropy:.4}"),
                None => "–".to_owned(),
            };
            table.row([
                block.to_string(),
                third(0, 333),
                third(333, 667),
                third(667, DIFFUSION_STEPS),
                format!("{largest:.3}"),
                format!("{moved:.4}"),
            ])
        })
    }

    /// The same figures for programs, and the entropy at every timestep.
    pub fn summary(&self) -> Value {
        let block = |block: usize| {
            let (largest, moved) = self.extremes(block);
            json!({
                "block": block,
                "entropy": self.entropy(block, 0, DIFFUSION_STEPS),
                "entropy_by_timestep": self.entropies[block],
                "largest_times_n": largest,
                "moves": moved,
            })
        };
        let blocks: Vec<Value> = (0..self.blocks.len()).map(block).collect();
        json!({"timesteps": self.timesteps, "blocks": blocks})
    }

    /// A heat map a block: weight times N over timestep and prompt, all on one scale.
    pub fn heat_maps(&self) -> Result<Vec<Svg>> {
        let n = self.prompts as f32;
        let largest = self.blocks.iter().flatten().copied().fold(0.0, f32::max) * n;
        let rows = [self.timesteps.len(), self.prompts];
        self.blocks
            .iter()
            .enumerate()
            .map(|(block, masks)| {
                let scaled: Vec<f32> = masks.iter().map(|m| m * n).collect();
                let map = HeatMap::new(format!("block {block}"), &scaled, rows)?
                    .axes(
                        Axis::new("prompt", 0.0, (self.prompts - 1) as f64),
                        Axis::new(
                            "timestep",
                            self.timesteps.first().map_or(0.0, |&t| t as f64),
                            0.0,
                        ),
                    )
                    .value_label("weight × N")
                    .range(0.0..=largest.max(1.0));
                Ok(map.to_svg()?)
            })
            .collect()
    }

    /// All heat maps in one SVG file, one below the other.
    pub fn to_svg(&self) -> Result<String> {
        Ok(crate::report::stack(&self.heat_maps()?))
    }
}
