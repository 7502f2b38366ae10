//! Images in an `.npz`, as guided-diffusion writes them.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::Picture;
use super::picture::ensure_ratio;
use crate::memory::ensure_fits;
use crate::npz::{Kind, NpzFile};

/// Images of one size, and their labels if the file has them.
pub struct ImageArray {
    bytes: Vec<u8>,
    channels: usize,
    size: [usize; 2],
    /// How many.
    pub count: usize,
    /// `arr_1`, or `labels`: one a picture.
    pub labels: Option<Vec<u32>>,
}

impl ImageArray {
    /// Reads the array `arr_0`, bytes `[count, height, width, channels]`.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let file = File::open(path).with_context(|| format!("{shown}: cannot be read"))?;
        let mut archive = NpzFile::new(file).with_context(|| shown.clone())?;
        let header = archive.header("arr_0").with_context(|| shown.clone())?;
        let header = header.with_context(|| format!("{shown}: has no array 'arr_0' of images"))?;
        let &[count, height, width, channels] = header.shape.as_slice() else {
            bail!(
                "{shown}: 'arr_0' has shape {:?}; images are [count, height, width, channels]",
                header.shape
            );
        };
        let product = [count, height, width, channels]
            .into_iter()
            .try_fold(1u64, u64::checked_mul);
        let product = product.map_or(u128::MAX, u128::from);
        ensure_fits(&shown, product, "give fewer or smaller images")?;
        let [count, height, width, channels] =
            [count, height, width, channels].map(|size| size as usize);
        ensure!(
            matches!(channels, 1 | 3),
            "{shown}: images of {channels} channels; give grey or red-green-blue ones"
        );
        ensure!(
            height > 0 && width > 0,
            "{shown}: images of {width}x{height} pixels; give larger ones"
        );
        ensure!(
            !header.fortran_order,
            "{shown}: 'arr_0' is in Fortran order; save it with numpy.ascontiguousarray"
        );
        ensure_ratio([height, width]).with_context(|| shown.clone())?;
        ensure!(
            header.known().ok() == Some(Kind::U8),
            "{shown}: 'arr_0' holds {}, and images are of bytes; save it with numpy.uint8",
            header.number
        );
        let bytes = archive.array("arr_0").with_context(|| shown.clone())?.bytes;
        let labels =
            labels(&mut archive).with_context(|| format!("{shown}: the labels cannot be read"))?;
        if let Some(labels) = &labels {
            ensure!(
                labels.len() == count,
                "{shown}: {} labels for {count} images",
                labels.len()
            );
        }
        Ok(Self {
            bytes,
            channels,
            size: [height, width],
            count,
            labels,
        })
    }

    /// One image.
    pub fn picture(&self, index: usize) -> Picture {
        let length = self.size[0] * self.size[1] * self.channels;
        let pixels = &self.bytes[index * length..(index + 1) * length];
        Picture::interleaved(pixels, self.channels, self.size)
    }
}

fn labels(archive: &mut NpzFile<File>) -> Result<Option<Vec<u32>>> {
    for name in ["arr_1", "labels"] {
        if !archive.has(name) {
            continue;
        }
        let numbers = archive.array(name)?.whole_numbers();
        let numbers = numbers.with_context(|| format!("'{name}'"))?;
        let label = |number: i128| {
            let class = u32::try_from(number).ok();
            class.with_context(|| format!("'{name}': {number} is no class; classes count from 0"))
        };
        return numbers
            .into_iter()
            .map(label)
            .collect::<Result<_>>()
            .map(Some);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::npz::Npz;

    /// An archive whose images have this shape and no bytes.
    fn archive(shape: &[u64]) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".npz").tempfile().unwrap();
        let mut npz = Npz::default();
        // It says so, and what it has is what was written before.
        npz.array("arr_0", shape, [0u8; 0]).unwrap_err();
        std::fs::write(file.path(), npz.finish().unwrap()).unwrap();
        file
    }

    /// A changed pixel is an image still, and not the one that was written.
    #[test]
    fn an_array_that_was_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npz");
        let arrays = [("arr_0", vec![4, 2, 2, 3], 77), ("arr_1", vec![4], 88)];
        let stored = |changed: Option<&str>| {
            let mut npz = Npz::stored();
            for (name, shape, value) in &arrays {
                let count = shape.iter().product::<u64>();
                npz.array(name, shape, vec![*value as u8; count as usize])
                    .unwrap();
            }
            let mut bytes = npz.finish().unwrap();
            if let Some((_, _, value)) = arrays.iter().find(|(name, ..)| Some(*name) == changed) {
                let place = bytes.windows(4).position(|four| four == [*value as u8; 4]);
                bytes[place.unwrap() + 2] ^= 1;
            }
            std::fs::write(&path, bytes).unwrap();
            ImageArray::read(&path)
        };
        assert_eq!(stored(None).unwrap().count, 4);
        for name in ["arr_0", "arr_1"] {
            let error = format!("{:#}", stored(Some(name)).err().unwrap());
            assert!(error.contains(name) && error.contains("damaged"), "{error}");
        }
    }

    #[test]
    fn shapes_that_no_memory_holds_are_refused() {
        for shape in [
            [1 << 40, 1 << 40, 1 << 40, 3],
            [1 << 30, 1 << 20, 1 << 20, 3],
        ] {
            let file = archive(&shape);
            let error = ImageArray::read(file.path()).err().unwrap().to_string();
            assert!(error.contains("GiB of memory"), "{error}");
        }
        let file = archive(&[1, 1, 60_000, 3]);
        let error = format!("{:#}", ImageArray::read(file.path()).err().unwrap());
        assert!(error.contains("60000x1"), "{error}");
    }
}
