//! Large images in tiles that overlap and are blended, as diffusers does it, so that memory does not grow with their area.

use burn::tensor::{Tensor, TensorData};

use super::{LatentGaussian, Vae};

/// Share of a tile that overlaps the next one.
const OVERLAP: f64 = 0.25;

/// Steps and sizes of tiles: where they come from, and where they go.
#[derive(Debug, Clone, Copy)]
struct Tiles {
    /// Side of a tile that is read.
    read: usize,
    /// From one tile's begin to the next one's.
    step: usize,
    /// Rows and columns that are blended, where they are written.
    blend: usize,
    /// Side that is written of a tile.
    write: usize,
}

impl Tiles {
    /// Tiles of side `read`, which come out with side `written`.
    fn new(read: usize, written: usize) -> Self {
        let blend = (written as f64 * OVERLAP) as usize;
        Self {
            read,
            step: ((read as f64 * (1.0 - OVERLAP)) as usize).max(1),
            blend,
            write: written - blend,
        }
    }
}

impl Vae {
    /// [`encode`](Self::encode) in tiles of `side` pixels, a multiple of the downsampling; images that are no larger are
    /// encoded whole.
    pub fn encode_tiled(&self, images: Tensor<4>, side: usize) -> LatentGaussian {
        let [_, _, height, width] = images.dims();
        if height <= side && width <= side {
            return self.encode(images);
        }
        let tiles = Tiles::new(side, side / self.config.downsampling());
        self.gaussian(tiled(&images, tiles, |tile| self.moments(tile)))
    }

    /// [`decode`](Self::decode) in tiles that become images of `side` pixels; latents that are no larger are decoded whole.
    pub fn decode_tiled(&self, latents: Tensor<4>, side: usize) -> Tensor<4> {
        let read = side / self.config.downsampling();
        let [_, _, height, width] = latents.dims();
        if height <= read && width <= read {
            return self.decode(latents);
        }
        let latents = self.unscaled(latents);
        tiled(&latents, Tiles::new(read, side), |tile| self.images(tile))
    }
}

/// Each tile of `x` by itself, blended with those above and to the left, and put together.
fn tiled(x: &Tensor<4>, tiles: Tiles, work: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let mut bands = Vec::new();
    let mut above: Vec<Tensor<4>> = Vec::new();
    for top in (0..height).step_by(tiles.step) {
        let rows = tiles.read.min(height - top);
        let mut row: Vec<Tensor<4>> = Vec::new();
        for left in (0..width).step_by(tiles.step) {
            let columns = tiles.read.min(width - left);
            let tile = x.clone().narrow(2, top, rows).narrow(3, left, columns);
            row.push(work(tile));
        }
        // Blended tiles are what those below and to the right are blended with.
        for index in 0..row.len() {
            if let Some(upper) = above.get(index) {
                row[index] = blended(upper, &row[index], tiles.blend, 2);
            }
            if index > 0 {
                row[index] = blended(&row[index - 1], &row[index], tiles.blend, 3);
            }
        }
        let cut = |tile: &Tensor<4>| {
            let [_, _, rows, columns] = tile.dims();
            let tile = tile.clone().narrow(2, 0, rows.min(tiles.write));
            tile.narrow(3, 0, columns.min(tiles.write))
        };
        bands.push(Tensor::cat(row.iter().map(cut).collect(), 3));
        above = row;
    }
    Tensor::cat(bands, 2)
}

/// `next` with its first `extent` entries along `axis` faded in over the last ones of `before`.
fn blended(before: &Tensor<4>, next: &Tensor<4>, extent: usize, axis: usize) -> Tensor<4> {
    let (length, of_next) = (before.dims()[axis], next.dims()[axis]);
    let extent = extent.min(length).min(of_next);
    if extent == 0 {
        return next.clone();
    }
    let share: Vec<f32> = (0..extent).map(|i| i as f32 / extent as f32).collect();
    let mut shape = [1; 4];
    shape[axis] = extent;
    let share = Tensor::<4>::from_data(TensorData::new(share, shape), &next.device());
    let end = before.clone().narrow(axis, length - extent, extent);
    let begin = next.clone().narrow(axis, 0, extent);
    let faded = end.clone() + (begin - end) * share;
    if extent == of_next {
        return faded;
    }
    let rest = next.clone().narrow(axis, extent, of_next - extent);
    Tensor::cat(vec![faded, rest], axis)
}
