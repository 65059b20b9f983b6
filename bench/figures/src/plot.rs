//! Plots, as SVG.

mod halves;
mod lines;

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

pub use halves::{Bars, Curves, Half, halves};
pub use lines::{Panel, lines};

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const COLORS: [RGBColor; 4] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 120, 20),
    RGBColor(44, 140, 60),
    RGBColor(130, 90, 180),
];

/// Points that one line joins.
pub struct Series {
    /// What the legend calls it.
    pub label: String,
    /// What it is over, and the value.
    pub points: Vec<(f64, f64)>,
}

/// A white area of that size, which `fill` draws on.
fn draw(path: &Path, size: (u32, u32), fill: impl FnOnce(&Area<'_>) -> Drawn) -> Result<()> {
    let whole = || -> Drawn {
        let area = SVGBackend::new(path, size).into_drawing_area();
        area.fill(&WHITE)?;
        fill(&area)?;
        area.present()?;
        Ok(())
    };
    // plotters' errors are not `Send`.
    whole().map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

/// The sign before a series' name.
fn patch((x, y): (i32, i32), color: RGBColor) -> Rectangle<(i32, i32)> {
    Rectangle::new([(x, y - 5), (x + 10, y + 5)], color.filled())
}
