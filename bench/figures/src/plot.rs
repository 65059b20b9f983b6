//! Plots, as SVG.

mod bars;
mod lines;

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

pub use bars::{Bars, bars};
pub use lines::{Panel, Series, lines};

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const BLUE: RGBColor = RGBColor(31, 119, 180);
const GREY: RGBColor = RGBColor(200, 200, 200);

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
