//! The pickle machine, protocols 0 to 5, without its power to call.

use super::input::{Fault, Input, Step};
use super::stack::Stack;
use super::tree::{Id, Made, Node, Tree};

/// Why bytes are no pickle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    /// It ends in the middle of something.
    #[error("it ends too early; copy the file again")]
    Truncated,
    /// More values than any model's file has; a byte each can make a hundred of memory.
    #[error("it has more than {MOST_VALUES} values; save the model's tensors alone")]
    Many,
    /// An instruction that no file of PyTorch has.
    #[error("unknown instruction {code:#04x} at byte {at}; convert the file to safetensors")]
    Instruction {
        /// The instruction.
        code: u8,
        /// Where.
        at: usize,
    },
    /// An instruction finds something else than it needs.
    #[error(
        "instruction {code:#04x} at byte {at} does not find what it needs; the file is damaged"
    )]
    Operand {
        /// The instruction.
        code: u8,
        /// Where.
        at: usize,
    },
}

/// Values of the largest tree: a model has tens for each of its tensors.
pub(super) const MOST_VALUES: usize = 1 << 22;

/// Parses the pickle that `bytes` begin with: its tree, its root, and how many bytes it takes.
pub fn parse(bytes: &[u8]) -> Result<(Tree, Id, usize), PickleError> {
    let mut machine = Machine {
        input: Input::new(bytes),
        tree: Tree::default(),
        stack: Stack::default(),
        memo: std::collections::HashMap::new(),
    };
    loop {
        let at = machine.input.at();
        let code = machine.input.byte()?;
        match machine.step(code) {
            Ok(Some(root)) => return Ok((machine.tree, root, machine.input.at())),
            Ok(None) if machine.tree.len() > MOST_VALUES => return Err(PickleError::Many),
            Ok(None) => {}
            Err(Fault::Truncated) => return Err(PickleError::Truncated),
            Err(Fault::Operand) => return Err(PickleError::Operand { code, at }),
            Err(Fault::Instruction) => return Err(PickleError::Instruction { code, at }),
        }
    }
}

struct Machine<'a> {
    input: Input<'a>,
    tree: Tree,
    stack: Stack,
    memo: std::collections::HashMap<usize, Id>,
}

impl Machine<'_> {
    /// One instruction; the root when it was the last.
    fn step(&mut self, code: u8) -> Step<Option<Id>> {
        match code {
            b'.' => return self.stack.pop().map(Some),
            0x80 => drop(self.input.take(1)?),
            0x95 => drop(self.input.take(8)?),
            b'(' => self.stack.mark(),
            b'0' => drop(self.stack.pop()?),
            b'1' => drop(self.stack.pop_mark()?),
            b'2' => self.stack.push(self.stack.top()?),
            _ => self.value(code)?,
        }
        Ok(None)
    }

    /// Instructions that make a value of what follows them.
    fn value(&mut self, code: u8) -> Step<()> {
        let node = match code {
            b'N' => Node::None,
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            b'I' => integer_line(self.input.line()?)?,
            b'J' => {
                let bits = self.input.number(4)? as u32;
                Node::Int(i64::from(bits.cast_signed()))
            }
            b'K' => Node::Int(self.input.number(1)? as i64),
            b'M' => Node::Int(self.input.number(2)? as i64),
            b'L' => integer_line(self.input.line()?.trim_end_matches('L'))?,
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'F' => Node::Float(self.input.line()?.parse().map_err(|_| Fault::Operand)?),
            b'G' => {
                let bytes = self.input.take(8)?.try_into().map_err(|_| Fault::Operand)?;
                Node::Float(f64::from_be_bytes(bytes))
            }
            b'S' => Node::Text(self.input.line()?.trim_matches(['\'', '"']).to_owned()),
            b'V' => Node::Text(self.input.line()?.to_owned()),
            b'T' | b'X' => Node::Text(self.input.text(4)?),
            b'U' | 0x8c => Node::Text(self.input.text(1)?),
            0x8d => Node::Text(self.input.text(8)?),
            b'B' => self.bytes(4)?,
            b'C' => self.bytes(1)?,
            0x8e | 0x96 => self.bytes(8)?,
            b'c' => {
                let module = self.input.line()?;
                Node::Global(format!("{module} {}", self.input.line()?))
            }
            b'P' => {
                let name = self.input.line()?.to_owned();
                Node::Outside(self.tree.add(Node::Text(name)))
            }
            b']' => Node::List(Vec::new()),
            b')' => Node::Tuple(Vec::new()),
            b'}' => Node::Dict(Vec::new()),
            0x8f => Node::List(Vec::new()),
            _ => return self.combine(code),
        };
        self.push(node);
        Ok(())
    }

    /// Instructions that make a value of what is on the stack, or change it.
    fn combine(&mut self, code: u8) -> Step<()> {
        match code {
            b'l' | 0x91 => {
                let items = self.stack.pop_mark()?;
                self.push(Node::List(items));
            }
            b't' => {
                let items = self.stack.pop_mark()?;
                self.push(Node::Tuple(items));
            }
            0x85..=0x87 => {
                let mut items = vec![0; usize::from(code - 0x84)];
                for item in items.iter_mut().rev() {
                    *item = self.stack.pop()?;
                }
                self.push(Node::Tuple(items));
            }
            b'd' => {
                let items = self.stack.pop_mark()?;
                let pairs = pairs(&items)?;
                self.push(Node::Dict(pairs));
            }
            b'a' => {
                let item = self.stack.pop()?;
                self.extend(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.stack.pop_mark()?;
                self.extend(&items)?;
            }
            b's' => {
                let (value, key) = (self.stack.pop()?, self.stack.pop()?);
                self.insert(&[(key, value)])?;
            }
            b'u' => {
                let items = self.stack.pop_mark()?;
                self.insert(&pairs(&items)?)?;
            }
            0x93 => {
                let (name, module) = (self.stack.pop()?, self.stack.pop()?);
                let (Node::Text(module), Node::Text(name)) =
                    (self.tree.node(module), self.tree.node(name))
                else {
                    return Err(Fault::Operand);
                };
                let name = format!("{module} {name}");
                self.push(Node::Global(name));
            }
            b'Q' => {
                let name = self.stack.pop()?;
                self.push(Node::Outside(name));
            }
            _ => return self.make(code),
        }
        Ok(())
    }

    /// Instructions that would call something, and those of the memo.
    fn make(&mut self, code: u8) -> Step<()> {
        match code {
            b'R' | 0x81 => {
                let (arguments, maker) = (self.stack.pop()?, self.stack.pop()?);
                self.push_made(maker, arguments);
            }
            0x92 => {
                let (_keywords, arguments, maker) =
                    (self.stack.pop()?, self.stack.pop()?, self.stack.pop()?);
                self.push_made(maker, arguments);
            }
            b'o' => {
                let items = self.stack.pop_mark()?;
                let (&maker, rest) = items.split_first().ok_or(Fault::Operand)?;
                let arguments = self.tree.add(Node::Tuple(rest.to_vec()));
                self.push_made(maker, arguments);
            }
            b'i' => {
                let module = self.input.line()?;
                let name = format!("{module} {}", self.input.line()?);
                let items = self.stack.pop_mark()?;
                let maker = self.tree.add(Node::Global(name));
                let arguments = self.tree.add(Node::Tuple(items));
                self.push_made(maker, arguments);
            }
            b'b' => {
                let (state, object) = (self.stack.pop()?, self.stack.top()?);
                // The state of anything else would change nothing here.
                if let Node::Made(made) = self.tree.node_mut(object) {
                    made.state = Some(state);
                }
            }
            b'p' => {
                let place = self.input.line()?.parse().map_err(|_| Fault::Operand)?;
                self.remember(place)?;
            }
            b'q' => {
                let place = self.input.number(1)?;
                self.remember(place)?;
            }
            b'r' => {
                let place = self.input.number(4)?;
                self.remember(place)?;
            }
            0x94 => self.remember(self.memo.len())?,
            b'g' => {
                let place = self.input.line()?.parse().map_err(|_| Fault::Operand)?;
                self.recall(place)?;
            }
            b'h' => {
                let place = self.input.number(1)?;
                self.recall(place)?;
            }
            b'j' => {
                let place = self.input.number(4)?;
                self.recall(place)?;
            }
            _ => return Err(Fault::Instruction),
        }
        Ok(())
    }

    fn push(&mut self, node: Node) {
        let id = self.tree.add(node);
        self.stack.push(id);
    }

    fn push_made(&mut self, maker: Id, arguments: Id) {
        self.push(Node::Made(Made {
            maker,
            arguments,
            state: None,
            entries: Vec::new(),
            items: Vec::new(),
        }));
    }

    fn extend(&mut self, new: &[Id]) -> Step<()> {
        let target = self.stack.top()?;
        match self.tree.node_mut(target) {
            Node::List(items) => items.extend(new),
            Node::Made(made) => made.items.extend(new),
            _ => return Err(Fault::Operand),
        }
        Ok(())
    }

    fn insert(&mut self, new: &[(Id, Id)]) -> Step<()> {
        let target = self.stack.top()?;
        match self.tree.node_mut(target) {
            Node::Dict(entries) => entries.extend(new),
            Node::Made(made) => made.entries.extend(new),
            _ => return Err(Fault::Operand),
        }
        Ok(())
    }

    fn remember(&mut self, place: usize) -> Step<()> {
        let top = self.stack.top()?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, place: usize) -> Step<()> {
        let id = self.memo.get(&place).copied().ok_or(Fault::Operand)?;
        self.stack.push(id);
        Ok(())
    }

    fn bytes(&mut self, width: usize) -> Step<Node> {
        let length = self.input.number(width)?;
        Ok(Node::Bytes(self.input.take(length)?.to_vec()))
    }

    /// A two's complement number of a length that `width` bytes say. One beyond 64 bits is kept as its bytes.
    fn long(&mut self, width: usize) -> Step<Node> {
        let length = self.input.number(width)?;
        let bytes = self.input.take(length)?;
        if length > 8 {
            return Ok(Node::Bytes(bytes.to_vec()));
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut all = [if negative { 0xff } else { 0 }; 8];
        all[..length].copy_from_slice(bytes);
        Ok(Node::Int(i64::from_le_bytes(all)))
    }
}

fn integer_line(line: &str) -> Step<Node> {
    match line {
        "00" => Ok(Node::Bool(false)),
        "01" => Ok(Node::Bool(true)),
        number => Ok(Node::Int(number.parse().map_err(|_| Fault::Operand)?)),
    }
}

fn pairs(items: &[Id]) -> Step<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Fault::Operand);
    }
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}
