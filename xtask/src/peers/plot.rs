//! The plot: how many times faster than PyTorch each workload is, a bar each, with a mark where it must be.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::results::{Results, Target};
use super::table::title;

const WIDTH: u32 = 860;
const ROW: u32 = 26;
/// The names of the bars stand left of this.
const LEFT: u32 = 300;
/// Room for the heading, and for the scale below.
const TOP: u32 = 44;
const BOTTOM: u32 = 34;
const INK: RGBColor = RGBColor(40, 40, 40);

struct Bar {
    name: String,
    ratio: f64,
    target: Option<Target>,
}

/// Writes an SVG.
pub(crate) fn write(file: &Path, results: &Results) -> anyhow::Result<()> {
    let mut svg = draw(&bars(results)).context("the plot cannot be drawn")?;
    if !svg.ends_with('\n') {
        svg.push('\n');
    }
    fs::write(file, svg).with_context(|| format!("cannot write {}", file.display()))
}

/// A bar for every ratio of speeds.
fn bars(results: &Results) -> Vec<Bar> {
    let mut bars = Vec::new();
    for threads in results.threads() {
        let note = if threads == 1 { String::new() } else { format!(", {threads} threads") };
        let rows = results.step_rows(threads).into_iter();
        bars.extend(rows.map(|row| Bar {
            name: format!("{}{note}", title(&row.workload)),
            ratio: row.ratio,
            target: row.target,
        }));
    }
    let rows = results.children_rows().into_iter();
    bars.extend(rows.map(|row| Bar {
        name: format!("{} networks, two cores", row.workload),
        ratio: row.ratio,
        target: row.target,
    }));
    bars
}

fn draw(bars: &[Bar]) -> anyhow::Result<String> {
    let failed = |error: &dyn std::fmt::Display| anyhow!("{error}");
    let height = TOP + BOTTOM + ROW * u32::try_from(bars.len())?;
    let highest = bars.iter().flat_map(|bar| [bar.ratio, bar.target.map_or(1.0, |target| target.must)]);
    let highest = highest.fold(1.0, f64::max).ceil();
    let scale = f64::from(WIDTH - LEFT - 60) / highest;
    let x = |ratio: f64| LEFT as i32 + (ratio * scale).round() as i32;
    let bottom = (height - BOTTOM) as i32;

    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        let text = |words: &str, at: (i32, i32), pos: Pos, size: i32| {
            let style = ("sans-serif", size).into_font().color(&INK).pos(pos);
            area.draw(&Text::new(words.to_owned(), at, style)).map_err(|e| failed(&e))
        };
        area.fill(&WHITE).map_err(|e| failed(&e))?;
        let heading = "Examples a second, ours by PyTorch's; the dark mark is where it must be";
        text(heading, (12, 12), Pos::new(HPos::Left, VPos::Top), 15)?;
        for step in 0..=highest as i32 {
            let at = x(f64::from(step));
            let color = if step == 1 { INK } else { RGBColor(215, 215, 215) };
            area.draw(&PathElement::new([(at, TOP as i32 - 4), (at, bottom)], color)).map_err(|e| failed(&e))?;
            text(&format!("{step}×"), (at, bottom + 6), Pos::new(HPos::Center, VPos::Top), 13)?;
        }
        for (bar, top) in bars.iter().zip((TOP as i32..).step_by(ROW as usize)) {
            let (below, middle) = (top + ROW as i32 - 6, top + (ROW as i32 - 6) / 2);
            let missed = bar.target.is_some_and(|target| bar.ratio < target.must);
            let color = if missed { RGBColor(214, 96, 77) } else { RGBColor(67, 147, 195) };
            let rectangle = Rectangle::new([(x(0.0), top), (x(bar.ratio), below)], color.filled());
            area.draw(&rectangle).map_err(|e| failed(&e))?;
            if let Some(target) = bar.target {
                let at = x(target.must);
                let mark = Rectangle::new([(at - 1, top - 2), (at + 1, below + 2)], INK.filled());
                area.draw(&mark).map_err(|e| failed(&e))?;
            }
            text(&bar.name, (LEFT as i32 - 8, middle), Pos::new(HPos::Right, VPos::Center), 13)?;
            let end = x(bar.ratio.max(bar.target.map_or(0.0, |target| target.must))) + 6;
            text(&format!("{:.2}", bar.ratio), (end, middle), Pos::new(HPos::Left, VPos::Center), 13)?;
        }
        area.present().map_err(|e| failed(&e))?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::results::tests::results;

    #[test]
    fn every_ratio_has_a_bar() {
        let bars = bars(&results());
        let names: Vec<&str> = bars.iter().map(|bar| bar.name.as_str()).collect();
        let expected =
            ["W2 small CNN", "W3 NAS-Bench-201, all 3×3", "W2 small CNN, 2 threads", "W2 networks, two cores"];
        assert_eq!(names, expected);
        let svg = draw(&bars).unwrap();
        for words in expected.iter().chain(&["0.90", "4.00"]) {
            assert!(svg.contains(words), "no {words} in the plot");
        }
        // One bar misses what it must reach, the others do not.
        assert_eq!((svg.matches("#D6604D").count(), svg.matches("#4393C3").count()), (1, 3));
    }
}
