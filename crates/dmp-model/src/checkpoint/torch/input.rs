//! The bytes of a pickle, and what the instructions read of them.

use super::pickle::PickleError;

/// What went wrong in an instruction.
pub enum Fault {
    Truncated,
    Operand,
    Instruction,
}

impl From<PickleError> for Fault {
    fn from(_: PickleError) -> Self {
        Self::Truncated
    }
}

/// The outcome of a part of an instruction.
pub type Step<T> = Result<T, Fault>;

/// The bytes of a pickle, read from the front.
pub struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], PickleError> {
        let end = self.at.checked_add(count).ok_or(PickleError::Truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or(PickleError::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned little-endian number of `count` bytes, at most 8.
    pub fn number(&mut self, count: usize) -> Result<usize, PickleError> {
        let bytes = self.take(count)?;
        let value = bytes
            .iter()
            .rev()
            .fold(0u64, |value, &byte| value << 8 | u64::from(byte));
        usize::try_from(value).map_err(|_| PickleError::Truncated)
    }

    /// A line of text, without its end.
    pub fn line(&mut self) -> Step<&'a str> {
        let rest = &self.bytes[self.at..];
        let length = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or(Fault::Truncated)?;
        self.at += length + 1;
        std::str::from_utf8(&rest[..length]).map_err(|_| Fault::Operand)
    }

    /// Text of a length that `width` bytes say.
    pub fn text(&mut self, width: usize) -> Step<String> {
        let length = self.number(width)?;
        let bytes = self.take(length)?;
        // Python allows lone surrogates; no name of a tensor has one.
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}
