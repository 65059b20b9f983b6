//! What was measured, for people to look at: Markdown tables and SVG plots.

pub mod plot;
pub mod table;
