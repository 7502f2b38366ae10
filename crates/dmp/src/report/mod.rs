//! Pictures, tables and pages of results: pure functions from figures to PNG, SVG, HTML and text.
//!
//! Nothing here trains, samples or touches a disk; a command computes, this module shows, and
//! [`write_atomic`](crate::output::write_atomic) stores.
//!
//! | module | from | to |
//! |---|---|---|
//! | [`grid`] | `u8` images | [`Png`] |
//! | [`chart`] | named series of points | [`Svg`] |
//! | [`dots`] | means with their intervals | [`Svg`] |
//! | [`heatmap`] | a matrix | [`Svg`] with the cells as an embedded PNG |
//! | [`table`] | rows of cells | aligned text, or a table of a page |
//! | [`html`] | all of these | one self-contained page |

mod axis;
pub mod chart;
mod colourbar;
mod colourmap;
pub mod demo;
pub mod dots;
mod frame;
pub mod grid;
pub mod heatmap;
pub mod html;
mod legend;
mod picture;
mod stack;
mod svg;
pub mod table;

pub use picture::Png;
pub use stack::stack;
pub use svg::Svg;

use thiserror::Error;

/// Why a figure could not be made from the data given.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ReportError {
    /// The number of values is not what the shape says.
    #[error("{figure}: shape {shape:?} asks for {expected} values, {found} were given")]
    Shape {
        /// The figure.
        figure: String,
        /// The shape claimed.
        shape: Vec<usize>,
        /// How many values that shape holds.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Images are grey or RGB.
    #[error("{figure}: images have {found} channels; a grid shows 1 (grey) or 3 (RGB)")]
    Channels {
        /// The figure.
        figure: String,
        /// The number of channels given.
        found: usize,
    },
    /// A dimension is zero, or no point of a chart can be placed on its axes.
    #[error("{figure}: there is nothing to draw")]
    Empty {
        /// The figure.
        figure: String,
    },
    /// The picture would be larger than a PNG may be.
    #[error(
        "{figure}: {width} x {height} pixels are too many for one picture; show fewer or smaller images"
    )]
    TooLarge {
        /// The figure.
        figure: String,
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// The drawing or encoding library refused.
    #[error("{figure}: {reason}")]
    Backend {
        /// The figure.
        figure: String,
        /// What the library said.
        reason: String,
    },
}
