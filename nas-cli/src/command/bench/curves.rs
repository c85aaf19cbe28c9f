//! The curves: mean regret over the search, a panel a task and a line an agent, as SVG.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use nas_core::benchmark::{Limit, Trace};
use nas_rl::statistics::mean;
use plotters::prelude::*;

use super::contest::Contest;
use super::summary::regret;
use crate::error::{Error, Kind, Result};

const WIDTH: u32 = 900;
const PANEL: u32 = 360;
/// Points of a curve.
const POINTS: usize = 200;
/// A regret below this part of the first one is drawn there: the scale is logarithmic.
const FLOOR: f64 = 1e-3;
/// Colours that are told apart also by those who see fewer (Okabe and Ito), and black.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(150, 120, 0),
    RGBColor(0, 0, 0),
];

/// Draws into a new file; `of` gives the searches of a task and an agent by their numbers.
pub(super) fn write<'t>(
    file: &Path,
    contests: &[Contest<'_>],
    agents: &[String],
    of: &dyn Fn(usize, usize) -> &'t [Trace],
) -> Result<()> {
    let svg =
        draw(contests, agents, of).map_err(|e| Error::new(Kind::Other, format!("the curves cannot be drawn: {e}")))?;
    let written =
        OpenOptions::new().write(true).create_new(true).open(file).and_then(|mut f| f.write_all(svg.as_bytes()));
    written.map_err(|source| Error::io("writing", file, &source))
}

fn draw<'t>(
    contests: &[Contest<'_>],
    agents: &[String],
    of: &dyn Fn(usize, usize) -> &'t [Trace],
) -> std::result::Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, PANEL * contests.len() as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        for ((c, contest), panel) in contests.iter().enumerate().zip(area.split_evenly((contests.len(), 1))) {
            let (end, unit) = match contest.limit {
                Limit::Queries(queries) => (queries as f64, "evaluations"),
                Limit::Seconds(seconds) => (seconds, "simulated seconds"),
            };
            let points: Vec<f64> = match contest.limit {
                Limit::Queries(queries) => (1..=queries).step_by(queries.div_ceil(POINTS)).map(|n| n as f64).collect(),
                Limit::Seconds(_) => (1..=POINTS).map(|i| end * i as f64 / POINTS as f64).collect(),
            };
            let curves: Vec<Vec<f64>> = (0..agents.len())
                .map(|a| {
                    let at = |&x: &f64| mean(&of(c, a).iter().map(|t| regret(t, contest.limit, x)).collect::<Vec<_>>());
                    points.iter().map(at).collect()
                })
                .collect();
            let high = curves.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
            let floor = high * FLOOR;
            let mut chart = ChartBuilder::on(&panel)
                .caption(&contest.name, ("sans-serif", 18))
                .margin(10)
                .x_label_area_size(36)
                .y_label_area_size(64)
                .build_cartesian_2d(0.0..end, (floor..high * 1.1).log_scale())?;
            chart
                .configure_mesh()
                .x_desc(unit)
                .y_desc(format!("mean regret {}", contest.unit).trim_end())
                .light_line_style(TRANSPARENT)
                .y_label_formatter(&|y| format!("{y:.3}"))
                .draw()?;
            for (a, curve) in curves.iter().enumerate() {
                let colour = COLOURS[a % COLOURS.len()];
                let line = points.iter().zip(curve).map(|(&x, &y)| (x, y.max(floor)));
                chart
                    .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
                    .label(&agents[a])
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .background_style(WHITE.mix(0.8))
                .draw()?;
        }
        area.present()?;
    }
    Ok(svg)
}
