//! placeholder

pub mod data;
pub mod output;
pub mod report;
