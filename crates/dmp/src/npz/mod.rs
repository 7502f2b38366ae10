//! `.npz` archives, as numpy reads and writes them: a zip file of arrays.

mod header;
mod number;

use std::io::{self, Cursor, Read, Seek, Write};

use anyhow::{Context, Result, bail, ensure};
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

pub use header::Header;
pub use number::{Kind, Number};

/// An archive to be read.
pub struct NpzFile<R>(ZipArchive<R>);

/// An array that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// What it says of itself.
    pub header: Header,
    /// Its numbers, as they lie in the file.
    pub bytes: Vec<u8>,
}

impl<R: Read + Seek> NpzFile<R> {
    /// Opens an archive.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(file: R) -> Result<Self> {
        let archive = ZipArchive::new(file);
        Ok(Self(archive.context("not an .npz archive")?))
    }

    /// Whether there is an array of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.index_for_name(&member(name)).is_some()
    }

    /// What an array says of itself; `None` where there is none of this name.
    ///
    /// # Errors
    /// When it is no array.
    pub fn header(&mut self, name: &str) -> Result<Option<Header>> {
        match self.0.by_name(&member(name)) {
            Err(ZipError::FileNotFound) => Ok(None),
            Err(ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_)) => {
                bail!("'{name}' is packed in a way that numpy does not; save it with numpy.savez")
            }
            Err(error) => Err(error).with_context(|| damaged(name)),
            Ok(mut file) => Header::read(&mut file)
                .map(Some)
                .with_context(|| format!("'{name}' is no array; write the file again")),
        }
    }

    /// An array, all of it: the archive says what its bytes sum up to.
    ///
    /// # Errors
    /// When it is not there, is no array, of other numbers than [`Kind`] has, has more or fewer of them than its shape, or was changed.
    pub fn array(&mut self, name: &str) -> Result<Array> {
        let header = self.header(name)?;
        let header =
            header.with_context(|| format!("has no array '{name}'; write the file again"))?;
        let kind = header.known().with_context(|| format!("'{name}'"))?;
        let mut file = self.0.by_name(&member(name))?;
        Header::read(&mut file)?;
        let length = header.length(kind);
        let length = length.with_context(|| format!("'{name}' is larger than any memory"))?;
        // A header may promise any size; what is read is what is there, and one byte more, so that the sum is looked at.
        let mut bytes = Vec::new();
        let read = file.by_ref().take(length).read_to_end(&mut bytes);
        read.with_context(|| damaged(name))?;
        let rest = io::copy(&mut file, &mut io::sink()).with_context(|| damaged(name))?;
        ensure!(
            bytes.len() as u64 == length && rest == 0,
            "'{name}' does not have the {length} bytes of its shape {:?}; write the file again",
            header.shape
        );
        Ok(Array { header, bytes })
    }
}

impl Array {
    /// Whole numbers of any width.
    ///
    /// # Errors
    /// When they are no whole numbers.
    pub fn whole_numbers(&self) -> Result<Vec<i128>> {
        let kind = self.header.known()?;
        ensure!(
            kind.is_whole(),
            "holds {}, not whole numbers; save it with numpy.int64",
            self.header.number
        );
        Ok(self.numbers(kind, Kind::whole))
    }

    /// Floating-point numbers of 32 or 64 bits.
    ///
    /// # Errors
    /// When they are others.
    pub fn floats(&self) -> Result<Vec<f64>> {
        match self.header.known()? {
            kind @ (Kind::F32 | Kind::F64) => Ok(self.numbers(kind, Kind::float)),
            _ => bail!(
                "holds {}, not 32 or 64-bit floats; save it with numpy.float64",
                self.header.number
            ),
        }
    }

    fn numbers<T>(&self, kind: Kind, read: impl Fn(Kind, u64) -> T) -> Vec<T> {
        let number = |bytes: &[u8]| {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            if self.header.big_endian {
                eight[..bytes.len()].reverse();
            }
            read(kind, u64::from_le_bytes(eight))
        };
        self.bytes.chunks_exact(kind.width()).map(number).collect()
    }
}

fn member(name: &str) -> String {
    format!("{name}.npy")
}

fn damaged(name: &str) -> String {
    format!("'{name}' is damaged; copy or write the file again")
}

/// An archive to be written, in memory. The same arrays make the same bytes on any day.
pub struct Npz {
    zip: ZipWriter<Cursor<Vec<u8>>>,
    compression: CompressionMethod,
}

impl Default for Npz {
    fn default() -> Self {
        Self {
            zip: ZipWriter::new(Cursor::new(Vec::new())),
            compression: CompressionMethod::Deflated,
        }
    }
}

impl Npz {
    /// Whose numbers lie in it as they are.
    #[cfg(test)]
    pub fn stored() -> Self {
        Self {
            compression: CompressionMethod::Stored,
            ..Self::default()
        }
    }

    /// Adds an array of this shape, its values in C order.
    ///
    /// # Errors
    /// When there are not as many values as the shape holds.
    pub fn array<T: Number>(
        &mut self,
        name: &str,
        shape: &[u64],
        values: impl IntoIterator<Item = T>,
    ) -> Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(self.compression)
            .large_file(true)
            .last_modified_time(DateTime::default());
        self.zip.start_file(member(name), options)?;
        self.zip.write_all(&Header::of::<T>(shape).to_bytes())?;
        let mut count = 0;
        let mut some = Vec::new();
        for value in values {
            value.put(&mut some);
            count += 1;
            if some.len() >= 1 << 16 {
                self.zip.write_all(&some)?;
                some.clear();
            }
        }
        self.zip.write_all(&some)?;
        let product = shape.iter().copied().try_fold(1u64, u64::checked_mul);
        ensure!(
            product == Some(count),
            "'{name}': {count} values for the shape {shape:?}"
        );
        Ok(())
    }

    /// The bytes of the whole.
    ///
    /// # Errors
    /// When the archive is beyond what zip holds.
    pub fn finish(self) -> Result<Vec<u8>> {
        Ok(self.zip.finish()?.into_inner())
    }
}

#[cfg(test)]
mod tests;
