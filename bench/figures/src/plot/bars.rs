//! Two bars a row, to be compared.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;

use super::{BLUE, Drawn, GREY, draw, patch};

const SIZE: (u32, u32) = (900, 360);
const BAR: i32 = 18;

pub struct Bars<'a> {
    pub caption: &'a str,
    /// What the first and the second bar of each row stand for.
    pub labels: [&'a str; 2],
    pub rows: Vec<(String, [f64; 2])>,
}

pub fn bars(plot: &Bars<'_>, path: &Path) -> Result<()> {
    let rows = &plot.rows;
    let most = rows.iter().flat_map(|row| row.1).fold(0.01, f64::max);
    draw(path, SIZE, |area| -> Drawn {
        let mut chart = ChartBuilder::on(area)
            .caption(plot.caption, ("sans-serif", 18))
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(190)
            .build_cartesian_2d(0.0..most * 1.1, (0..rows.len()).into_segmented())?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_label_formatter(&|at| match at {
                SegmentValue::CenterOf(at) => rows.get(*at).map_or_else(String::new, |row| row.0.clone()),
                _ => String::new(),
            })
            .y_labels(rows.len() + 1)
            .draw()?;
        for ((which, label), color) in plot.labels.iter().enumerate().zip([BLUE, GREY]) {
            let shift = BAR * i32::from(which > 0);
            let rectangles = rows.iter().enumerate().map(|(at, row)| {
                EmptyElement::at((0.0, SegmentValue::CenterOf(at)))
                    + Rectangle::new([(0, shift - BAR), (width(row.1[which], most), shift)], color.filled())
            });
            chart
                .draw_series(rectangles)?
                .label(*label)
                .legend(move |at| patch(at, color));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE)
            .border_style(BLACK)
            .position(SeriesLabelPosition::LowerRight)
            .draw()?;
        Ok(())
    })
}

/// Of a bar, in points of the plot.
fn width(value: f64, most: f64) -> i32 {
    let plot = f64::from(SIZE.0) - 190.0 - 20.0;
    (value / (most * 1.1) * plot) as i32
}
