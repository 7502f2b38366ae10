//! Images in an `.npz`, as guided-diffusion writes them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use npyz::NpyFile;
use npyz::npz::NpzArchive;

use super::Picture;
use super::picture::ensure_ratio;
use crate::memory::ensure_fits;
use crate::npz::ensure_whole;

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
        let mut archive =
            NpzArchive::new(file).with_context(|| format!("{shown}: not an .npz archive"))?;
        let array = archive
            .by_name("arr_0")
            .with_context(|| format!("{shown}: 'arr_0' is no array; write the file again"))?
            .with_context(|| format!("{shown}: has no array 'arr_0' of images"))?;
        let &[count, height, width, channels] = array.shape() else {
            bail!(
                "{shown}: 'arr_0' has shape {:?}; images are [count, height, width, channels]",
                array.shape()
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
            array.order() == npyz::Order::C,
            "{shown}: 'arr_0' is in Fortran order; save it with numpy.ascontiguousarray"
        );
        ensure_ratio([height, width]).with_context(|| shown.clone())?;
        let bytes = array
            .into_vec()
            .with_context(|| format!("{shown}: 'arr_0' is cut off or not of bytes (uint8)"))?;
        ensure_whole(&mut archive, "arr_0").with_context(|| shown.clone())?;
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

fn labels(archive: &mut NpzArchive<File>) -> Result<Option<Vec<u32>>> {
    for name in ["arr_1", "labels"] {
        ensure_whole(archive, name)?;
        if let Some(array) = archive.by_name(name)? {
            let array = match whole_numbers::<i64, _>(array) {
                Ok(labels) => return labels.map(Some).with_context(|| name),
                Err(array) => array,
            };
            let array = match whole_numbers::<i32, _>(array) {
                Ok(labels) => return labels.map(Some).with_context(|| name),
                Err(array) => array,
            };
            return match whole_numbers::<u8, _>(array) {
                Ok(labels) => labels.map(Some).with_context(|| name),
                Err(_) => bail!("'{name}' is not of whole numbers (int64, int32 or uint8)"),
            };
        }
    }
    Ok(None)
}

/// Labels of an array of `T`; the array itself if it is of another type.
fn whole_numbers<T, R>(array: NpyFile<R>) -> Result<Result<Vec<u32>>, NpyFile<R>>
where
    T: npyz::Deserialize,
    u32: TryFrom<T>,
    R: Read,
{
    let values = array.try_data::<T>()?;
    let label = |value: std::io::Result<T>| {
        u32::try_from(value?).map_err(|_| anyhow!("a label is no class; classes count from 0"))
    };
    Ok(values.map(label).collect())
}

#[cfg(test)]
mod tests {
    use npyz::WriterBuilder;

    use super::*;

    /// An archive whose images have this shape and no bytes.
    fn archive(shape: &[u64]) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".npz").tempfile().unwrap();
        let mut writer = npyz::npz::NpzWriter::new(file.reopen().unwrap());
        let array = writer.array::<u8>("arr_0", Default::default()).unwrap();
        let array = array.default_dtype().shape(shape);
        // The writer is dropped before it has what the shape says.
        drop(array.begin_nd());
        drop(writer);
        file
    }

    /// A changed pixel is an image still, and not the one that was written.
    #[test]
    fn an_array_that_was_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npz");
        let mut writer = npyz::npz::NpzWriter::new(File::create(&path).unwrap());
        let stored = zip::write::FileOptions::default();
        let stored = stored.compression_method(zip::CompressionMethod::Stored);
        for (name, shape, value) in [("arr_0", &[4, 2, 2, 3][..], 77), ("arr_1", &[4], 88)] {
            let array = writer.array::<u8>(name, stored).unwrap();
            let mut array = array.default_dtype().shape(shape).begin_nd().unwrap();
            let count: u64 = shape.iter().product();
            array.extend(vec![value; count as usize]).unwrap();
            array.finish().unwrap();
        }
        drop(writer);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(ImageArray::read(&path).unwrap().count, 4);
        for (values, says) in [([77; 4], "arr_0"), ([88; 4], "arr_1")] {
            let mut changed = bytes.clone();
            let place = bytes.windows(4).position(|four| four == values);
            changed[place.unwrap() + 2] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            let error = format!("{:#}", ImageArray::read(&path).err().unwrap());
            assert!(error.contains(says) && error.contains("damaged"), "{error}");
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
