//! Two pictures side by side, each with a legend above it, where it hides nothing.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Area, COLORS, Drawn, Series, draw, patch};

const WIDTH: u32 = 1200;
const TITLE: u32 = 40;
/// A caption and a legend.
const HEAD: u32 = 52;
/// A group of bars.
const ROW: u32 = 46;
const CURVES: u32 = 368;
const AXIS: u32 = 38;
/// For the rows' names, and for figures.
const NAMES: u32 = 190;
const FIGURES: u32 = 60;
const MARGIN: u32 = 12;

/// One of the two pictures.
pub enum Half<'a> {
    /// Figures that are compared with each other.
    Bars(Bars<'a>),
    /// Figures that depend on a quantity.
    Curves(Curves<'a>),
}

/// Some bars a row, to be compared.
pub struct Bars<'a> {
    /// What stands above it.
    pub caption: &'a str,
    /// What the bars of each row stand for.
    pub labels: Vec<&'a str>,
    /// A bar that is not a number, or 0, is left out.
    pub rows: Vec<(String, Vec<f64>)>,
}

/// Lines over some quantity.
pub struct Curves<'a> {
    /// What stands above it.
    pub caption: &'a str,
    /// The quantity, with its unit: the name of the horizontal axis.
    pub over: &'a str,
    /// At most four, as there are no more colours.
    pub series: Vec<Series>,
}

/// Draws the two into one SVG file, under a common title.
pub fn halves(title: &str, both: &[Half<'_>; 2], path: &Path) -> Result<()> {
    let heights = both.iter().map(|half| match half {
        Half::Bars(bars) => bars.rows.len() as u32 * ROW,
        Half::Curves(_) => CURVES,
    });
    let height = heights.max().unwrap_or_default() + TITLE + HEAD + AXIS + MARGIN;
    draw(path, (WIDTH, height), |area| -> Drawn {
        let middle = font(20).pos(Pos::new(HPos::Center, VPos::Top));
        area.draw(&Text::new(title, (WIDTH as i32 / 2, 10), middle))?;
        let (_, area) = area.split_vertically(TITLE);
        let (left, right) = area.split_horizontally(WIDTH / 2);
        for (area, half) in [left, right].iter().zip(both) {
            match half {
                Half::Bars(plot) => bars(area, plot)?,
                Half::Curves(plot) => curves(area, plot)?,
            }
        }
        Ok(())
    })
}

fn bars(area: &Area<'_>, plot: &Bars<'_>) -> Drawn {
    let area = head(area, plot.caption, plot.labels.iter().copied())?;
    let rows = &plot.rows;
    let figures = rows.iter().flat_map(|row| &row.1).copied();
    let most = figures.filter(|figure| figure.is_finite()).fold(0.01, f64::max);
    // From the top down, and with room for a figure beside the longest bar.
    let mut chart = ChartBuilder::on(&area)
        .margin_right(MARGIN)
        .margin_bottom(MARGIN)
        .x_label_area_size(AXIS)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(0.0..most * 1.15, rows.len() as f64..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .y_labels(0)
        .x_labels(6)
        .x_label_style(font(13))
        .draw()?;
    let beside = |side| font(13).pos(Pos::new(side, VPos::Center));
    let thick = 0.8 / plot.labels.len() as f64;
    for (at, (name, figures)) in rows.iter().enumerate() {
        let at = at as f64;
        let name = Text::new(name.clone(), (-8, 0), beside(HPos::Right));
        chart.draw_series([EmptyElement::at((0.0, at + 0.5)) + name])?;
        for (number, (&figure, color)) in figures.iter().zip(COLORS).enumerate() {
            if !figure.is_finite() || figure <= 0.0 {
                continue;
            }
            let top = at + 0.1 + thick * number as f64;
            chart.draw_series([Rectangle::new([(0.0, top), (figure, top + thick)], color.filled())])?;
            let text = Text::new(format!("{figure:.2}"), (4, 0), beside(HPos::Left));
            chart.draw_series([EmptyElement::at((figure, top + thick / 2.0)) + text])?;
        }
    }
    Ok(())
}

fn curves(area: &Area<'_>, plot: &Curves<'_>) -> Drawn {
    let labels = plot.series.iter().map(|series| series.label.as_str());
    let area = head(area, plot.caption, labels)?;
    let points = plot.series.iter().flat_map(|series| &series.points);
    let (widest, most) = points.fold((1.0, 0.01), |(widest, most), &(x, y)| (x.max(widest), y.max(most)));
    let mut chart = ChartBuilder::on(&area)
        .margin_right(MARGIN)
        .margin_bottom(MARGIN)
        .x_label_area_size(AXIS)
        .y_label_area_size(FIGURES)
        .build_cartesian_2d(0.0..widest * 1.05, 0.0..most * 1.1)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(6)
        .x_desc(plot.over)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .label_style(font(13))
        .draw()?;
    for (series, color) in plot.series.iter().zip(COLORS.into_iter().cycle()) {
        chart.draw_series(LineSeries::new(series.points.iter().copied(), color.stroke_width(2)))?;
        let dots = series.points.iter().map(|&point| Circle::new(point, 4, color.filled()));
        chart.draw_series(dots)?;
    }
    Ok(())
}

/// Gives what is below it.
fn head<'a, 'b>(
    area: &Area<'a>,
    caption: &str,
    labels: impl Iterator<Item = &'b str>,
) -> Result<Area<'a>, Box<dyn std::error::Error>> {
    let (head, rest) = area.split_vertically(HEAD);
    head.draw(&Text::new(caption, (MARGIN as i32, 4), font(16)))?;
    let mut x = MARGIN as i32;
    for (label, color) in labels.zip(COLORS.into_iter().cycle()) {
        head.draw(&patch((x, 36), color))?;
        head.draw(&Text::new(label, (x + 16, 29), font(14)))?;
        // How wide the letters are is not known before somebody looks at them.
        x += 40 + 8 * label.chars().count() as i32;
    }
    Ok(rest)
}

fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&BLACK)
}
