//! A plot a scenario, as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::results::Results;

const SIZE: (u32, u32) = (900, 360);
const BAR: i32 = 18;

/// Bars of processor time: the follower's own, and the engine's beside it.
pub fn plot(results: &Results<'_>, path: &Path) -> Result<()> {
    draw(results, path).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

fn draw(results: &Results<'_>, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let bars: Vec<(String, f64, f64)> = results
        .rows
        .iter()
        .map(|row| {
            let name = match results.scenario.works.len() {
                1 => row.contestant.to_string(),
                _ => format!("{}, {}", row.contestant, row.work.containers),
            };
            (name, row.median(|run| run.own), row.median(|run| run.engine))
        })
        .collect();
    let most = bars.iter().map(|bar| bar.1.max(bar.2)).fold(0.01, f64::max);
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(
            format!("{}: CPU seconds, own and engine's", results.scenario.name),
            ("sans-serif", 18),
        )
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(190)
        .build_cartesian_2d(0.0..most * 1.1, (0..bars.len()).into_segmented())?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_label_formatter(&|at| match at {
            SegmentValue::CenterOf(at) => bars.get(*at).map_or_else(String::new, |bar| bar.0.clone()),
            _ => String::new(),
        })
        .y_labels(bars.len() + 1)
        .draw()?;
    let series = [
        (RGBColor(31, 119, 180), "own", 0),
        (RGBColor(200, 200, 200), "engine", 1),
    ];
    for (color, label, which) in series {
        let of = |bar: &(String, f64, f64)| if which == 0 { bar.1 } else { bar.2 };
        let rectangles = bars.iter().enumerate().map(|(at, bar)| {
            let place = |value: f64| (value, SegmentValue::CenterOf(at));
            let shift = BAR * which;
            EmptyElement::at(place(0.0))
                + Rectangle::new([(0, shift - BAR), (width(of(bar), most), shift)], color.filled())
        });
        chart
            .draw_series(rectangles)?
            .label(label)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], color.filled()));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE)
        .border_style(BLACK)
        .position(SeriesLabelPosition::LowerRight)
        .draw()?;
    area.present()?;
    Ok(())
}

/// Of a bar, in points of the plot.
fn width(value: f64, most: f64) -> i32 {
    let plot = f64::from(SIZE.0) - 190.0 - 20.0;
    (value / (most * 1.1) * plot) as i32
}
