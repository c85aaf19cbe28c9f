//! `nas calibrate`: measures this machine's inference, and how well it is predicted from then on.

use std::sync::atomic::Ordering;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nas_nn::family;
use nas_nn::latency::{Accuracy, Calibration, Check};

use crate::cli;
use crate::error::{Error, Kind, Result};
use crate::output::{self, Output};
use crate::{calibration, interrupt};

/// The largest batch: more examples at once no longer change what one of them takes.
const LARGEST: usize = 256;
/// Predictions should be nearer than that.
const AIM: f64 = 0.15;

/// Measures the machine and writes the calibration.
pub(crate) fn run(args: &cli::Calibrate, output: Output) -> Result<()> {
    if !(1..=LARGEST).contains(&args.batch) {
        return Err(Error::usage(format!("--batch is {}; it must be 1 to {LARGEST}", args.batch)));
    }
    let path = args.out.clone().map_or_else(calibration::path, Ok)?;
    let exists = path.exists();
    // Found out before anything is measured.
    if exists && !args.replace {
        let message = format!("{} exists already and is not overwritten", path.display());
        return Err(Error::new(Kind::Io, message).next("replace it with --replace, or choose another file with --out"));
    }
    output.line("Measuring inference with random networks, on one thread; best while the machine does nothing else.");
    let bar = ProgressBar::with_draw_target(
        None,
        if output.shows_progress() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
    );
    bar.set_style(ProgressStyle::with_template("{spinner} {pos} of {len} networks, {eta} left").expect("a constant"));
    let begun = Instant::now();
    let mut progress = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        !interrupt::flag().load(Ordering::Relaxed)
    };
    let measured = Calibration::measure(args.batch, &mut progress);
    bar.finish_and_clear();
    let (calibration, checks) = measured?;
    calibration.write(&path, args.replace)?;

    output.json(&serde_json::json!({
        "calibration": path, "processor": calibration.processor, "kernels": calibration.kernels,
        "batch": calibration.batch, "kinds": calibration.laws.len(), "accuracy": calibration.accuracy, "checks": checks,
    }));
    output.answer(format!("\nprocessor  {}, {} kernels", calibration.processor, calibration.kernels));
    output.answer(format!(
        "laws       {} kinds of steps, batches of {}, in {}\n",
        calibration.laws.len(),
        calibration.batch,
        output::seconds(begun.elapsed().as_secs_f64())
    ));
    output.answer(table(&checks, &calibration.accuracy));
    if calibration.accuracy.p90 > AIM {
        output.answer(format!(
            "\nNine in ten are not within {:.0} %: the table says which spaces to mistrust. A busy machine makes it worse.",
            100.0 * AIM
        ));
    }
    let done = if exists { "replaced" } else { "written" };
    output.answer(format!("\nThe calibration is {done}: {}", path.display()));
    if args.out.is_some() {
        output.line(format!("Commands use it with NAS_CALIBRATION={}", output::typed(&path)));
    } else {
        output.line("\nNext:\n  nas space check cnn_cell\n  nas search --target-latency 200us");
    }
    Ok(())
}

/// How far predictions are off, family by family and in all.
fn table(checks: &[Check], all: &Accuracy) -> String {
    let percent = |x: f64| format!("{:.1} %", 100.0 * x);
    let row = |name: &str, accuracy: &Accuracy, checks: &[Check]| {
        let mut times: Vec<f64> = checks.iter().map(|check| check.measured).collect();
        times.sort_by(f64::total_cmp);
        let [first, last] = [times.first(), times.last()].map(|t| t.map_or_else(String::new, |t| output::latency(*t)));
        let errors = [accuracy.median, accuracy.p90, accuracy.worst].map(percent);
        [name.to_owned(), accuracy.networks.to_string(), first, last].into_iter().chain(errors).collect::<Vec<_>>()
    };
    let rows = family::families().into_iter().filter_map(|family| {
        let own: Vec<Check> = checks.iter().filter(|check| check.family == family.name()).cloned().collect();
        (!own.is_empty()).then(|| row(family.name(), &Accuracy::of(&own), &own))
    });
    let rows = rows.chain([row("all", all, checks)]).collect();
    let header = ["space", "networks", "fastest", "slowest", "off by", "90 % within", "worst"];
    format!(
        "Predicted against measured latency of networks that were not used:\n{}",
        output::table(&header, &[1, 2, 3, 4, 5, 6], rows)
    )
}
