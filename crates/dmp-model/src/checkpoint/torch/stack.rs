//! The stack of the pickle machine.

use super::input::{Fault, Step};
use super::tree::Id;

/// Values, and marks between them.
#[derive(Debug, Default)]
pub struct Stack {
    values: Vec<Id>,
    marks: Vec<usize>,
}

impl Stack {
    /// Puts a value on top.
    pub fn push(&mut self, id: Id) {
        self.values.push(id);
    }

    /// Sets a mark above what is there.
    pub fn mark(&mut self) {
        self.marks.push(self.values.len());
    }

    /// The topmost value; those below the last mark are out of reach.
    pub fn top(&self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.values
            .get(floor..)
            .and_then(<[Id]>::last)
            .copied()
            .ok_or(Fault::Operand)
    }

    /// Takes the topmost value.
    pub fn pop(&mut self) -> Step<Id> {
        let id = self.top()?;
        self.values.pop();
        Ok(id)
    }

    /// Takes the last mark and everything above it.
    pub fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or(Fault::Operand)?;
        Ok(self.values.split_off(mark))
    }
}
