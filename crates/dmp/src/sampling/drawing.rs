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
use indicatif::ProgressBar;
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
    /// Batches that are there and still to be read, as they would have been drawn.
    to_read: VecDeque<Range<usize>>,
    /// Images given so far.
    given: usize,
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
    /// As [`Sampling::new`]; when the folder cannot be made, has images of another sampling or of a longer one, or another process draws
    /// into it.
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
        let to_read: VecDeque<_> = sampling.skip_drawn(there).into();
        if let (Some(folder), 1..) = (&folder, there) {
            let count = args.count;
            crate::tell!("{there} of {count} images are there already and stay");
            // Of a batch that is drawn again, those that are there are not written again.
            let read = to_read.back().map_or(0, |images| images.end);
            (read..there).try_for_each(|index| folder.read(index).map(drop))?;
        }
        Ok(Self {
            sampling,
            folder,
            layout: model.image_layout(),
            to_read,
            given: 0,
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

    /// Whether the next images are read, not drawn.
    pub fn reads(&self) -> bool {
        !self.to_read.is_empty()
    }

    fn read(&mut self, folder: &ImageFolder, images: Range<usize>) -> Result<SampledBatch> {
        if self.sampling.recipe.interrupt.asked() {
            return Err(Interrupted("stopped".to_owned()).into());
        }
        let read = images.clone().into_par_iter().map(|i| folder.read(i));
        let pixels: Vec<Vec<u8>> = read.collect::<Result<_>>()?;
        Ok(SampledBatch {
            pixels: pixels.concat(),
            labels: self.sampling.recipe.labels(images),
        })
    }

    fn draw(&mut self) -> Result<Option<SampledBatch>> {
        let Some(batch) = self.sampling.next().transpose()? else {
            return self.written(0).map(|()| None);
        };
        self.keep(&batch)?;
        Ok(Some(batch))
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

    /// Waits until at most `most` batches are on their way; of several that fail, the first says why.
    fn written(&mut self, most: usize) -> Result<()> {
        let mut all = Ok(());
        while self.writing.len() > most
            && let Some(oldest) = self.writing.pop_front()
        {
            let after = oldest.join();
            match after.unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                Ok(after) if all.is_ok() => self.kept = self.kept.max(after),
                Ok(_) => {}
                Err(error) => all = all.and(Err(error)),
            }
        }
        all
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
        let batch = match (self.folder.clone(), self.to_read.pop_front()) {
            (Some(folder), Some(images)) => self.read(&folder, images).map(Some),
            _ => self.draw(),
        };
        if let Ok(Some(batch)) = &batch {
            self.given += batch.labels.len();
        }
        let batch = batch.map_err(|error| {
            // How many are there is known when all are written; why one is not has been said.
            let error = self.written(0).err().unwrap_or(error);
            let stopped = error.is::<Interrupted>();
            error.context(self.so_far(stopped))
        });
        batch.transpose()
    }
}

/// The next images, which `bar` then counts; its rate is of those that are drawn.
///
/// # Errors
/// As the drawing's.
pub fn next_batch(drawing: &mut Drawing<'_>, bar: &ProgressBar) -> Result<Option<SampledBatch>> {
    let reads = drawing.reads();
    let Some(batch) = drawing.next().transpose()? else {
        return Ok(None);
    };
    bar.inc(batch.labels.len() as u64);
    if reads {
        bar.reset_eta();
    }
    Ok(Some(batch))
}
