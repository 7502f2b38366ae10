//! Why a patch does not fit a backbone.

use super::GateKind;
use super::fit::{MOST_SIDE, TEMPERATURES, WIDEST_GATE};

/// A patch that does not fit its backbone.
#[derive(Debug, thiserror::Error)]
pub enum PatchConfigError {
    /// Prompts without values, or on a grid without places or with more than any use has.
    #[error(
        "prompts of width {width} on a grid of {}x{} are none; give a width above 0 and a grid of 1 to {MOST_SIDE} rows and columns",
        grid[0], grid[1]
    )]
    Nothing {
        /// Their width.
        width: usize,
        /// Rows and columns.
        grid: [usize; 2],
    },
    /// Token widths differ.
    #[error(
        "the patch has prompts of width {patch}, the backbone tokens of width {backbone}; use the patch's own backbone"
    )]
    Width {
        /// Of the patch.
        patch: usize,
        /// Of the backbone.
        backbone: usize,
    },
    /// More blocks patched than there are, or none.
    #[error(
        "the patch's depth (--depth) is {patch}, but the backbone has {backbone} blocks; give a depth from 1 to {backbone}"
    )]
    Depth {
        /// Of the patch.
        patch: usize,
        /// Of the backbone.
        backbone: usize,
    },
    /// Position `add` needs one prompt a token.
    #[error(
        "position 'add' (--position) needs one prompt (--prompts) for each of the {backbone} tokens of its grid (the backbone's, unless it has its own), not {patch}; give {backbone}, or use position 'prepend' or 'mix'"
    )]
    Prompts {
        /// Of the patch.
        patch: usize,
        /// Of the backbone.
        backbone: usize,
    },
    /// Position `both` needs a grid and more prompts than it has tokens.
    #[error(
        "position 'both' (--position) needs a grid of prompts and at least one more to prepend; {patch} prompts (--prompts) on a grid of {grid} tokens are not that; give more than {grid}"
    )]
    Both {
        /// Prompts.
        patch: usize,
        /// Tokens of the grid.
        grid: usize,
    },
    /// A rank that saves nothing.
    #[error(
        "prompts of rank {rank} (--prompt-rank) are no smaller than whole ones; give a rank of at most {most}, or none"
    )]
    Rank {
        /// Of the prompts.
        rank: usize,
        /// The largest that saves something.
        most: usize,
    },
    /// A gate wider than any use has.
    #[error("a gate of width {width} (--gate-hidden) is too wide; give at most {WIDEST_GATE}")]
    WideGate {
        /// Its width.
        width: usize,
    },
    /// A gate without the width it needs, or with one it does not have.
    #[error(
        "gate_hidden is the width of a gate of kind 'mlp' or 'attention', which must have one; this gate is {gate:?}"
    )]
    Hidden {
        /// The gate.
        gate: GateKind,
    },
    /// A limit that leaves no timestep.
    #[error(
        "a patch that acts below timestep 0 (patch_below) does nothing; give a timestep of at least 1"
    )]
    Never,
    /// Extra tokens at some timesteps and not at others.
    #[error(
        "a limit (--patch-below) is for prompts that are added alone (--position add or mix): extra tokens are there at all timesteps or at none; leave it out"
    )]
    LimitedTokens,
    /// Extra tokens with a strength.
    #[error(
        "a strength (--patch-scale) is for prompts that are added alone (--position add or mix): extra tokens act even as zeros; leave it out"
    )]
    ScaledTokens,
    /// A temperature that makes no softmax.
    #[error(
        "a temperature of {temperature} (--temperature) makes no mask; give a number from {least} to {most}",
        least = TEMPERATURES.start(),
        most = TEMPERATURES.end()
    )]
    Temperature {
        /// The temperature.
        temperature: f64,
    },
    /// Prompts that cover more or fewer tokens than they should.
    #[error(
        "the patch's prompts cover {patch} tokens each, and should cover {backbone}; use the patch's own backbone"
    )]
    Covered {
        /// Of the patch.
        patch: usize,
        /// Of the backbone, or 1 but for `mix`.
        backbone: usize,
    },
    /// Sizes beyond any backbone's.
    #[error(
        "the patch is described as wider, deeper or noisier than any backbone; export it again"
    )]
    Large,
    /// No prompts.
    #[error("a patch without prompts (--prompts) does nothing; give at least 1")]
    NoPrompts,
    /// More prompts than any use has.
    #[error(
        "{prompts} prompts a block (--prompts); give at most 16777216, over all tokens they cover"
    )]
    Many {
        /// Number of prompts.
        prompts: usize,
    },
    /// Nothing would be selected.
    #[error("--top-k (top_k) is {top_k}: of {prompts} prompts it selects none or more than all; give a share from {least:.4} to 1", least = (1e4 / *prompts as f64).ceil() / 1e4)]
    TopK {
        /// The share.
        top_k: f64,
        /// Number of prompts.
        prompts: usize,
    },
}
