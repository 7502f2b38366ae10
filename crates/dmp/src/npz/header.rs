//! What an array says of itself: the text of a Python dictionary before its numbers (numpy's format 1.0, 2.0 and 3.0).

use std::io::Read;

use anyhow::{Context, Result, ensure};

use super::{Kind, Number};

/// Type, order and shape of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What numpy calls its numbers: `<f4`, or something that is not read.
    pub number: String,
    /// Whether the highest byte of a number comes first.
    pub big_endian: bool,
    /// Whether the first index changes fastest.
    pub fortran_order: bool,
    /// Its sizes.
    pub shape: Vec<u64>,
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// A header is a line; what is longer is none.
const LONGEST: u32 = 1 << 16;

impl Header {
    /// Reads what stands before an array's numbers.
    pub(super) fn read(file: &mut impl Read) -> Result<Self> {
        let mut start = [0; 8];
        file.read_exact(&mut start)?;
        ensure!(
            start.starts_with(MAGIC) && (1..=3).contains(&start[6]),
            "it does not begin as one"
        );
        let length = if start[6] == 1 {
            let mut length = [0; 2];
            file.read_exact(&mut length)?;
            u32::from(u16::from_le_bytes(length))
        } else {
            let mut length = [0; 4];
            file.read_exact(&mut length)?;
            u32::from_le_bytes(length)
        };
        ensure!(length <= LONGEST, "its header has {length} bytes");
        let mut text = vec![0; length as usize];
        file.read_exact(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        Self::parse(&text).with_context(|| format!("its header is {:?}", text.trim()))
    }

    fn parse(text: &str) -> Option<Self> {
        let number = after(text, "descr")?;
        let number = match number.chars().next()? {
            quote @ ('\'' | '"') => number[1..].split(quote).next()?,
            // Of records of several numbers, the names and types.
            _ => number.split(", 'fortran_order'").next()?,
        };
        let order = after(text, "fortran_order")?;
        let (shape, _) = after(text, "shape")?.strip_prefix('(')?.split_once(')')?;
        // Python 2 wrote long numbers as 6L.
        let sizes = shape
            .split(',')
            .map(|size| size.trim().trim_end_matches('L'));
        let sizes = sizes.filter(|size| !size.is_empty());
        Some(Self {
            number: number.to_owned(),
            big_endian: number.starts_with('>'),
            fortran_order: match (order.starts_with("True"), order.starts_with("False")) {
                (true, _) => true,
                (_, true) => false,
                _ => return None,
            },
            shape: sizes.map(|size| size.parse().ok()).collect::<Option<_>>()?,
        })
    }

    /// Of an array in C order.
    pub(super) fn of<T: Number>(shape: &[u64]) -> Self {
        Self {
            number: T::NAME.to_owned(),
            big_endian: false,
            fortran_order: false,
            shape: shape.to_vec(),
        }
    }

    /// The type of its numbers.
    ///
    /// # Errors
    /// When it is one that is not read.
    pub fn known(&self) -> Result<Kind> {
        let name = self.number.trim_start_matches(['<', '>', '|', '=']);
        Kind::named(name).with_context(|| {
            format!(
                "holds {}, which is not read; save it with a type of whole numbers, numpy.float32 or numpy.float64",
                self.number
            )
        })
    }

    /// Bytes of all numbers; `None` for more than there can be.
    pub(super) fn length(&self, kind: Kind) -> Option<u64> {
        let width = kind.width() as u64;
        self.shape.iter().copied().try_fold(width, u64::checked_mul)
    }

    /// As numpy writes it: of a length that keeps the numbers aligned.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let sizes: Vec<String> = self.shape.iter().map(u64::to_string).collect();
        let shape = match sizes.as_slice() {
            [one] => format!("({one},)"),
            several => format!("({})", several.join(", ")),
        };
        let order = if self.fortran_order { "True" } else { "False" };
        let mut text = format!(
            "{{'descr': '{}', 'fortran_order': {order}, 'shape': {shape}, }}",
            self.number
        );
        let before = MAGIC.len() + 4;
        let whole = (before + text.len() + 1).next_multiple_of(64);
        text.extend(std::iter::repeat_n(' ', whole - before - text.len() - 1));
        text.push('\n');
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.into_bytes());
        bytes
    }
}

/// What is said of a key: a word that a colon follows, as no field of a record is.
fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    ["'", "\""].into_iter().find_map(|quote| {
        let quoted = format!("{quote}{key}{quote}");
        let mut rests = text
            .match_indices(&quoted)
            .map(|(at, found)| text[at + found.len()..].trim_start());
        rests.find_map(|rest| rest.strip_prefix(':').map(str::trim_start))
    })
}
