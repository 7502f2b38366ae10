//! `.npz` archives: writing them, as numpy reads them, and whether one is whole.

use std::io::{self, Cursor, Read, Seek};

use anyhow::{Context, Result};
use npyz::npz::{NpzArchive, NpzWriter};
use npyz::{AutoSerialize, Serialize, WriterBuilder};
use zip::result::ZipError;

/// Reads the array `name` to its end, where the archive says what its bytes sum up to. Reading the values alone stops before.
/// An array that is not there is no damage.
///
/// # Errors
/// When the sum is another.
pub fn ensure_whole<R: Read + Seek>(archive: &mut NpzArchive<R>, name: &str) -> Result<()> {
    let read = match archive.zip_archive().by_name(&format!("{name}.npy")) {
        Err(ZipError::FileNotFound) => return Ok(()),
        Err(error) => Err(error.into()),
        Ok(mut member) => io::copy(&mut member, &mut io::sink()),
    };
    read.with_context(|| format!("'{name}' is damaged; copy or write the file again"))?;
    Ok(())
}

/// An archive in memory. The same arrays make the same bytes on any day.
pub struct Npz(NpzWriter<Cursor<Vec<u8>>>);

impl Default for Npz {
    fn default() -> Self {
        Self(NpzWriter::new(Cursor::new(Vec::new())))
    }
}

impl Npz {
    /// Adds an array of this shape, its values in C order.
    ///
    /// # Errors
    /// When there are not as many values as the shape holds.
    pub fn array<T: Serialize + AutoSerialize>(
        &mut self,
        name: &str,
        shape: &[u64],
        values: impl IntoIterator<Item = T>,
    ) -> std::io::Result<()> {
        let options =
            zip::write::FileOptions::default().last_modified_time(zip::DateTime::default());
        let array = self.0.array(name, options)?.default_dtype().shape(shape);
        let mut array = array.begin_nd()?;
        array.extend(values)?;
        array.finish()
    }

    /// The bytes of the whole.
    pub fn finish(mut self) -> std::io::Result<Vec<u8>> {
        Ok(self.0.zip_writer().finish()?.into_inner())
    }
}
