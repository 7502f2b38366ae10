//! A sampling whose images are kept in a folder as they come, so that what was stopped goes on, and what was drawn once need
//! not be drawn again.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::Result;
use burn::tensor::Device;
use dmp_model::denoiser::ImageLayout;
use rayon::prelude::*;

use super::folder::ImageFolder;
use super::{SampledBatch, Sampling, SamplingArgs};
use crate::models::Model;
use crate::run::Interrupted;

/// Images batch by batch: those in the folder first, and the rest as it is drawn into it.
pub struct Drawing<'a> {
    sampling: Sampling<'a>,
    folder: Option<Arc<ImageFolder>>,
    layout: ImageLayout,
    /// Images given so far.
    given: usize,
    /// The first that is drawn; those before are read.
    first_drawn: usize,
    /// Batches on their way to the disk, while others are drawn; each gives how many images are there after it.
    writing: VecDeque<JoinHandle<Result<usize>>>,
    /// Images that are in the folder for certain.
    kept: usize,
}

/// Batches that may be on their way to the disk.
const WRITING: usize = 4;

impl<'a> Drawing<'a> {
    /// Of images that are kept in the folder `out`, or nowhere. Draws nothing yet.
    ///
    /// # Errors
    /// As [`Sampling::new`] and [`ImageFolder::open`].
    pub fn new(
        model: &'a Model,
        args: &SamplingArgs,
        out: Option<&Path>,
        device: &Device,
    ) -> Result<Self> {
        let mut sampling = Sampling::new(model, args, device)?;
        let open = |out| ImageFolder::open(out, model, args);
        let folder = out.map(open).transpose()?.map(Arc::new);
        let there = folder.as_ref().map_or(0, |folder| folder.there());
        if there > 0 {
            let count = args.count;
            crate::tell!("{there} of {count} images are there already and stay");
        }
        let first_drawn = sampling.skip_drawn(there);
        Ok(Self {
            sampling,
            folder,
            layout: model.image_layout(),
            given: 0,
            first_drawn,
            writing: VecDeque::new(),
            kept: there,
        })
    }

    /// How images are drawn.
    pub fn args(&self) -> &SamplingArgs {
        &self.sampling.recipe.args
    }

    /// Channels and size of the images.
    pub fn layout(&self) -> ImageLayout {
        self.layout
    }

    /// The folder that images are kept in.
    pub fn folder(&self) -> Option<&ImageFolder> {
        self.folder.as_deref()
    }

    /// Leaves out the images that are read, and gives how many that are.
    pub fn skip_read(&mut self) -> usize {
        self.given = self.first_drawn;
        self.first_drawn
    }

    fn read(&self, folder: &ImageFolder, images: Range<usize>) -> Result<SampledBatch> {
        let read = images.clone().into_par_iter().map(|i| folder.read(i));
        let pixels: Vec<Vec<u8>> = read.collect::<Result<_>>()?;
        Ok(SampledBatch {
            pixels: pixels.concat(),
            labels: self.sampling.recipe.labels(images),
        })
    }

    fn draw(&mut self) -> Option<Result<SampledBatch>> {
        let drawn = match self.sampling.next() {
            Some(Ok(batch)) => self.keep(&batch).map(|()| Some(batch)),
            last => self.written(0).and(last.transpose()),
        };
        let drawn = drawn.map_err(|error| {
            let stopped = error.is::<Interrupted>();
            error.context(self.so_far(stopped))
        });
        drawn.transpose()
    }

    /// Sends a batch to the disk.
    fn keep(&mut self, batch: &SampledBatch) -> Result<()> {
        let Some(folder) = self.folder.clone() else {
            return Ok(());
        };
        let (first, pixels) = (self.given, batch.pixels.clone());
        let after = first + batch.labels.len();
        (self.writing).push_back(thread::spawn(move || {
            folder.write(first, &pixels).map(|()| after)
        }));
        self.written(WRITING)
    }

    /// Waits until at most `most` batches are on their way.
    fn written(&mut self, most: usize) -> Result<()> {
        while self.writing.len() > most
            && let Some(oldest) = self.writing.pop_front()
        {
            let after = oldest.join();
            let after = after.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            self.kept = self.kept.max(after);
        }
        Ok(())
    }

    /// What has come of a sampling that ends early.
    fn so_far(&self, stopped: bool) -> String {
        let count = self.args().count;
        let Some(folder) = &self.folder else {
            return format!("{} of {count} images were drawn and none kept", self.given);
        };
        let kept = self.kept;
        let go_on = match (stopped, kept) {
            (false, _) => "",
            (true, 0) => "; a smaller --batch loses less",
            (true, _) => "; the same command goes on from there",
        };
        let folder = folder.root().display();
        format!("{kept} of {count} images are in {folder}{go_on}")
    }
}

impl Drop for Drawing<'_> {
    /// Whoever has enough, or has failed, leaves no half-written file behind.
    fn drop(&mut self) {
        let _ = self.written(0);
    }
}

impl Iterator for Drawing<'_> {
    type Item = Result<SampledBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.folder.clone() {
            Some(folder) if self.given < self.first_drawn => {
                // As many as are drawn at a time.
                let end = (self.given + self.args().batch).min(self.first_drawn);
                self.read(&folder, self.given..end)
            }
            _ => self.draw()?,
        };
        if let Ok(batch) = &batch {
            self.given += batch.labels.len();
        }
        Some(batch)
    }
}
