//! The numbers that arrays are made of.

/// A type of numbers that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is called as it is in Rust")]
pub enum Kind {
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
}

impl Kind {
    /// The one that numpy calls so, without the sign of its byte order.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "u1" => Self::U8,
            "u2" => Self::U16,
            "u4" => Self::U32,
            "u8" => Self::U64,
            "i1" => Self::I8,
            "i2" => Self::I16,
            "i4" => Self::I32,
            "i8" => Self::I64,
            "f4" => Self::F32,
            "f8" => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of a number.
    pub fn width(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Whether it is of whole numbers.
    pub fn is_whole(self) -> bool {
        !matches!(self, Self::F32 | Self::F64)
    }

    /// The whole number of these bits.
    pub(super) fn whole(self, bits: u64) -> i128 {
        match self {
            Self::I8 => i128::from(bits as i8),
            Self::I16 => i128::from(bits as i16),
            Self::I32 => i128::from(bits as i32),
            Self::I64 => i128::from(bits as i64),
            _ => i128::from(bits),
        }
    }

    /// The floating-point number of these bits.
    pub(super) fn float(self, bits: u64) -> f64 {
        match self {
            Self::F32 => f64::from(f32::from_bits(bits as u32)),
            _ => f64::from_bits(bits),
        }
    }
}

/// A number that is written.
pub trait Number {
    /// What numpy calls its type.
    const NAME: &'static str;

    /// Adds its bytes, the lowest first.
    fn put(&self, bytes: &mut Vec<u8>);
}

macro_rules! number {
    ($($type:ty, $name:literal;)*) => {$(
        impl Number for $type {
            const NAME: &'static str = $name;

            fn put(&self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        }
    )*};
}

number! {
    u8, "|u1";
    i64, "<i8";
    f32, "<f4";
    f64, "<f8";
}
