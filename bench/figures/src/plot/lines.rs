//! Series over time: panels one above the other, with the same time below each.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;

use super::{COLORS, Drawn, Series, draw, patch};

const SIZE: (u32, u32) = (900, 190);
/// For the names, which would hide the series where they end.
const BESIDE: i32 = 160;

/// One plot of those that share their time.
pub struct Panel<'a> {
    /// What stands above it.
    pub caption: &'a str,
    /// Over minutes; no more than there are colours: four.
    pub series: Vec<Series>,
}

/// Draws the panels into one SVG file.
///
/// Minutes before `settled` are shaded: they were measured, and not judged.
pub fn lines(panels: &[Panel<'_>], settled: f64, path: &Path) -> Result<()> {
    let height = SIZE.1 * u32::try_from(panels.len()).expect("a few panels");
    draw(path, (SIZE.0, height), |area| -> Drawn {
        for (area, panel) in area.split_evenly((panels.len(), 1)).iter().zip(panels) {
            let points = || panel.series.iter().flat_map(|series| &series.points);
            let end = points().map(|point| point.0).fold(0.0, f64::max);
            let most = points().map(|point| point.1).fold(0.0, f64::max).max(1.0) * 1.15;
            let mut chart = ChartBuilder::on(area)
                .caption(panel.caption, ("sans-serif", 16))
                .margin(8)
                .margin_right(BESIDE)
                .x_label_area_size(24)
                .y_label_area_size(50)
                .build_cartesian_2d(0.0..end, 0.0..most)?;
            chart.draw_series([Rectangle::new(
                [(0.0, 0.0), (settled, most)],
                RGBColor(238, 238, 238).filled(),
            )])?;
            chart
                .configure_mesh()
                .light_line_style(TRANSPARENT)
                .y_labels(5)
                .x_label_formatter(&|minutes| format!("{} min", rounded(*minutes)))
                .y_label_formatter(&|value| rounded(*value).to_string())
                .draw()?;
            let mut at = (SIZE.0 as i32 - BESIDE + 10, 40);
            for (series, color) in panel.series.iter().zip(COLORS) {
                chart.draw_series(LineSeries::new(series.points.iter().copied(), &color))?;
                area.draw(&patch(at, color))?;
                area.draw(&Text::new(
                    series.label.as_str(),
                    (at.0 + 16, at.1 - 6),
                    ("sans-serif", 12),
                ))?;
                at.1 += 18;
            }
        }
        Ok(())
    })
}

/// Ticks are sums of steps, and 0.1 + 0.2 is not quite 0.3.
fn rounded(tick: f64) -> f64 {
    (tick * 100.0).round() / 100.0
}
