//! Products of f32 matrices in tiles of registers, for processors with AVX-512: what attention and frozen weights share.

mod pack;
mod tile;

pub(crate) use pack::{PANEL, pack, panels, transpose};
pub(crate) use tile::{Left, Out, Right, mask, product};
