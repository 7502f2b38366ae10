//! Writing what `torch.load` reads, `weights_only` too: a zip archive of a pickle and the tensors' numbers.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::checkpoint::{HostTensor, Tensors};

/// A value of a dictionary to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Tensors by name, as a state dictionary.
    Tensors(Tensors),
    /// A dictionary.
    Dict(Vec<(String, Value)>),
    /// Text.
    Text(String),
    /// A number.
    Float(f64),
    /// A whole number, which must fit 32 bits.
    Int(i32),
}

/// The file of a dictionary.
///
/// # Errors
/// What writing an archive in memory can give: a file beyond what zip holds.
pub fn to_bytes(entries: Vec<(String, Value)>) -> Result<Vec<u8>, std::io::Error> {
    let mut pickle = Pickle::default();
    pickle.bytes.extend([op::PROTO, 2]);
    pickle.value(&Value::Dict(entries));
    pickle.bytes.push(op::STOP);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    // PyTorch maps the file into memory, so nothing is compressed; the same values make the same bytes on any day.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .large_file(true);
    let mut file = |name: String, bytes: &[u8]| {
        zip.start_file(format!("archive/{name}"), options)?;
        zip.write_all(bytes)
    };
    file("data.pkl".to_owned(), &pickle.bytes)?;
    file("byteorder".to_owned(), b"little")?;
    for (key, values) in pickle.storages.iter().enumerate() {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        file(format!("data/{key}"), &bytes)?;
    }
    file("version".to_owned(), b"3\n")?;
    Ok(zip.finish()?.into_inner())
}

/// Opcodes of pickle's second protocol.
mod op {
    pub(super) const PROTO: u8 = 0x80;
    pub(super) const STOP: u8 = b'.';
    pub(super) const MARK: u8 = b'(';
    pub(super) const EMPTY_DICT: u8 = b'}';
    pub(super) const SETITEMS: u8 = b'u';
    pub(super) const TUPLE: u8 = b't';
    pub(super) const EMPTY_TUPLE: u8 = b')';
    pub(super) const REDUCE: u8 = b'R';
    pub(super) const GLOBAL: u8 = b'c';
    pub(super) const BINPERSID: u8 = b'Q';
    pub(super) const BINUNICODE: u8 = b'X';
    pub(super) const BININT: u8 = b'J';
    pub(super) const LONG1: u8 = 0x8a;
    pub(super) const BINFLOAT: u8 = b'G';
    pub(super) const NEWFALSE: u8 = 0x89;
}

#[derive(Default)]
struct Pickle {
    bytes: Vec<u8>,
    /// The numbers of each tensor.
    storages: Vec<Vec<f32>>,
}

impl Pickle {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => self.text(text),
            Value::Float(number) => {
                self.bytes.push(op::BINFLOAT);
                self.bytes.extend(number.to_be_bytes());
            }
            Value::Int(number) => self.int(i64::from(*number)),
            Value::Dict(entries) => {
                self.bytes.extend([op::EMPTY_DICT, op::MARK]);
                for (key, value) in entries {
                    self.text(key);
                    self.value(value);
                }
                self.bytes.push(op::SETITEMS);
            }
            Value::Tensors(tensors) => {
                self.bytes.extend([op::EMPTY_DICT, op::MARK]);
                for (name, tensor) in tensors {
                    self.text(name);
                    self.tensor(tensor);
                }
                self.bytes.push(op::SETITEMS);
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes.push(op::BINUNICODE);
        self.bytes.extend((text.len() as u32).to_le_bytes());
        self.bytes.extend(text.as_bytes());
    }

    fn int(&mut self, number: i64) {
        match i32::try_from(number) {
            Ok(number) => {
                self.bytes.push(op::BININT);
                self.bytes.extend(number.to_le_bytes());
            }
            Err(_) => {
                self.bytes.extend([op::LONG1, 8]);
                self.bytes.extend(number.to_le_bytes());
            }
        }
    }

    fn global(&mut self, module: &str, name: &str) {
        self.bytes.push(op::GLOBAL);
        self.bytes.extend(format!("{module}\n{name}\n").as_bytes());
    }

    fn ints(&mut self, numbers: &[usize]) {
        self.bytes.push(op::MARK);
        numbers.iter().for_each(|&number| self.int(number as i64));
        self.bytes.push(op::TUPLE);
    }

    /// `_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`.
    fn tensor(&mut self, tensor: &HostTensor) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.bytes.extend([op::MARK, op::MARK]);
        self.text("storage");
        self.global("torch", "FloatStorage");
        self.text(&self.storages.len().to_string());
        self.text("cpu");
        self.int(tensor.values.len() as i64);
        self.bytes.extend([op::TUPLE, op::BINPERSID]);
        self.int(0);
        self.ints(&tensor.shape);
        let mut strides = vec![1; tensor.shape.len()];
        for axis in (1..tensor.shape.len()).rev() {
            strides[axis - 1] = strides[axis] * tensor.shape[axis].max(1);
        }
        self.ints(&strides);
        self.bytes.push(op::NEWFALSE);
        self.global("collections", "OrderedDict");
        self.bytes.extend([op::EMPTY_TUPLE, op::REDUCE]);
        self.bytes.extend([op::TUPLE, op::REDUCE]);
        self.storages.push(tensor.values.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::torch::TorchFile;

    #[test]
    fn what_is_written_is_read_again() {
        let tensors = Tensors::from([
            (
                "gate.weight".to_owned(),
                HostTensor {
                    shape: vec![2, 3],
                    values: (0..6).map(|i| i as f32 / 4.0).collect(),
                },
            ),
            (
                "scalar".to_owned(),
                HostTensor {
                    shape: vec![],
                    values: vec![-2.5],
                },
            ),
        ]);
        let config = Value::Dict(vec![
            ("type".to_owned(), Value::Text("add".to_owned())),
            ("topk".to_owned(), Value::Float(0.5)),
            ("depth".to_owned(), Value::Int(7)),
        ]);
        let entries = vec![
            ("model".to_owned(), Value::Tensors(tensors.clone())),
            ("config".to_owned(), config),
        ];
        let bytes = to_bytes(entries).unwrap();
        assert!(TorchFile::is_one(&bytes));
        let file = TorchFile::from_bytes(bytes).unwrap();
        assert_eq!(file.names(), ["model", "config"]);
        assert_eq!(file.tensors(Some("model")).unwrap(), tensors);
        assert_eq!(file.text(&["config", "type"]).unwrap(), "add");
        assert_eq!(file.text(&["config", "topk"]).unwrap(), "0.5");
        assert_eq!(file.text(&["config", "depth"]).unwrap(), "7");
    }
}
