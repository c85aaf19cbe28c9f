//! `nas policy`: what the policy of a study has learned, read from its record.

use std::sync::Arc;

use nas_core::{Diagnostics, SearchSpace, SqliteStorage, Storage, Study};
use nas_rl::value::Reliability;

use super::closing;
use crate::cli;
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::output::{self, Output};
use crate::study_folder::StudyFolder;

/// Moments that are shown side by side.
const MOMENTS: usize = 24;
/// Above this share of an even policy's entropy nothing was learned …
const EVEN: f64 = 0.97;
/// … if there were so many updates.
const UPDATES: f64 = 10.0;
/// Above this share of repeats among its draws, or below that share of the even entropy, a policy has collapsed.
const REPEATS: f64 = 0.9;
const COLLAPSED: f64 = 0.02;

/// Probabilities of every option of every slot.
type Probabilities = Vec<Vec<f64>>;

/// Shows the policy.
pub(crate) fn run(args: &cli::Policy, output: Output) -> Result<()> {
    let folder = StudyFolder::new(&args.study);
    let storage: Arc<dyn Storage> = Arc::new(SqliteStorage::open_read_only(&folder.database())?);
    let finished = storage.trials()?.iter().filter(|t| t.is_finished()).count() as u64;
    let mut moments: Vec<(u64, Probabilities)> = Vec::new();
    let study = Study::open_watched(Arc::clone(&storage), limits::strategy, |observed, strategy| {
        // The first, the last, and evenly between them.
        let part = |n: u64| n * (MOMENTS as u64 - 1) / finished.max(1);
        if (observed == 0 || part(observed) > part(observed - 1))
            && let Some(p) = strategy.probabilities()
        {
            moments.push((observed, p));
        }
    })?;
    let record = study.record();
    let Some((_, now)) = moments.last() else {
        let message = format!("the agent of {} is {}, which has no policy", args.study.display(), record.strategy);
        return Err(Error::new(Kind::Study, message).next("search with --agent reinforce to have one"));
    };
    let diagnostics: Vec<(u64, Diagnostics)> =
        storage.diagnostics()?.into_iter().filter(|(_, d)| !d.0.is_empty()).collect();
    let last = diagnostics.last().map(|(_, d)| d);
    let reliability = last.and_then(Reliability::read);
    let verdict = verdict(last);
    let comparison = closing::search_verdict(study.trials(), &study.record().objective);

    let slots = record.space.slots();
    let wanted = |i: &usize| args.decision.as_ref().is_none_or(|part| slots[*i].path.contains(part.as_str()));
    let chosen: Vec<usize> = (0..slots.len()).filter(wanted).collect();
    if chosen.is_empty() {
        let known: Vec<&str> = slots.iter().map(|slot| slot.path.as_str()).take(20).collect();
        let part = args.decision.as_deref().unwrap_or_default();
        return Err(Error::usage(format!("no decision has \"{part}\" in its name; decisions: {}", known.join(", "))));
    }
    output.json(&serde_json::json!({
        "study": args.study, "agent": record.strategy, "observed": moments.last().map(|(n, _)| n), "verdict": verdict,
        "comparison": comparison, "diagnostics": last,
        "calibration": reliability.as_ref().map(|r| serde_json::json!({"states": r.states, "bias": r.bias,
            "correlation": r.correlation, "bins": r.bins})),
        "decisions": chosen.iter().map(|&i| serde_json::json!({"decision": slots[i].path, "options": slots[i].options,
            "probabilities": moments.iter().map(|(n, p)| serde_json::json!({"observed": n, "p": p[i]})).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    }));
    output.answer(format!("study     {}: agent {}, {finished} trials", args.study.display(), record.strategy));
    output.answer(format!("{verdict}\n{comparison}\n"));
    output.answer(table(&record.space, &chosen, &moments, now));
    let figures = figures(&diagnostics);
    if !figures.is_empty() {
        output
            .answer(format!("\n{}", output::table(&["figure", "over the updates", "first", "last"], &[2, 3], figures)));
    }
    if let Some(reliability) = reliability {
        output.answer(format!("\n{}", calibration(&reliability)));
    }
    Ok(())
}

/// What the value function predicted against what came: a sentence and a table.
fn calibration(reliability: &Reliability) -> String {
    let Reliability { states, bias, correlation, bins } = reliability;
    let bias = match bias {
        bias if bias.abs() < 0.005 => "as much as came".to_owned(),
        bias => format!("{:.2} too {} on average", bias.abs(), if *bias > 0.0 { "much" } else { "little" }),
    };
    let correlation = match correlation {
        Some(correlation) => format!("its predictions have a correlation of {correlation:.2} with the rewards"),
        None => "its predictions have no correlation with the rewards".to_owned(),
    };
    let row = |(i, [predicted, obtained]): (usize, &[f64; 2])| {
        let fifth = ["lowest", "low", "middle", "high", "highest"]
            .get(i)
            .map_or_else(|| (i + 1).to_string(), |&s| s.to_owned());
        vec![fifth, format!("{predicted:.2}"), format!("{obtained:.2}"), format!("{:+.2}", predicted - obtained)]
    };
    let rows = bins.iter().enumerate().map(row).collect();
    format!(
        "The value function expected {bias}; {correlation}. A fifth of the last {states} states, which are prefixes of \
         architectures, in each row; rewards as the agent learns from them:\n{}",
        output::table(&["predictions", "predicted", "obtained", "difference"], &[1, 2, 3], rows)
    )
}

/// What the policy's own figures say, in a sentence or two.
fn verdict(last: Option<&Diagnostics>) -> String {
    let Some(last) = last else {
        return "The policy has not been updated yet: it draws evenly. It needs more trials.".to_owned();
    };
    let figure = |name: &str| last.get(name);
    let updates = figure("updates").unwrap_or(0.0);
    let Some(entropy) = figure("entropy_normalised") else {
        return format!("The policy was updated {updates} times.");
    };
    let share = 100.0 * entropy;
    let repeats = figure("repeats").unwrap_or(0.0);
    if repeats > REPEATS || entropy < COLLAPSED {
        return format!(
            "The policy has collapsed: its entropy is {share:.0} % of an even one and {:.0} % of its draws were repeats. \
             What it still draws is a few architectures; search a larger space, or begin anew with another seed.",
            100.0 * repeats
        );
    }
    if updates >= UPDATES && entropy > EVEN {
        return format!(
            "The policy has learned nothing: after {updates} updates its entropy is {share:.0} % of an even one. \
             Random search does as well; give it more trials, or a space whose decisions matter more."
        );
    }
    format!("The policy was updated {updates} times; its entropy is {share:.0} % of an even one.")
}

/// A row for every option of the `chosen` slots: its probability over time, at first and now.
fn table(space: &SearchSpace, chosen: &[usize], moments: &[(u64, Probabilities)], now: &Probabilities) -> String {
    let mut rows = Vec::new();
    for &slot in chosen {
        let name = &space.slots()[slot].path;
        for (option, text) in space.slots()[slot].options.iter().enumerate() {
            let strip: String = moments.iter().map(|(_, p)| bar(p[slot][option])).collect();
            let first = moments[0].1[slot][option];
            let name = if option == 0 { name.clone() } else { String::new() };
            rows.push(vec![name, text.clone(), strip, format!("{first:.2}"), format!("{:.2}", now[slot][option])]);
        }
    }
    output::table(&["decision", "option", "probability over time", "first", "now"], &[3, 4], rows)
}

/// Each figure of the updates as a strip between its least and its largest, with its first and last value.
fn figures(diagnostics: &[(u64, Diagnostics)]) -> Vec<Vec<String>> {
    let Some((_, last)) = diagnostics.last() else { return Vec::new() };
    let told = |name: &str| {
        name.starts_with(Reliability::PREFIX) || matches!(name, "updates" | "restarts" | "skipped_updates")
    };
    let names = last.0.keys().filter(|name| !told(name));
    names
        .filter_map(|name| {
            let all: Vec<f64> = diagnostics.iter().filter_map(|(_, d)| d.get(name)).collect();
            let (least, most) = all.iter().fold((f64::MAX, f64::MIN), |(a, b), &x| (a.min(x), b.max(x)));
            let n = all.len().min(MOMENTS);
            let strip: String = (0..n)
                .map(|i| all[if n > 1 { i * (all.len() - 1) / (n - 1) } else { 0 }])
                .map(|x| bar(if most > least { (x - least) / (most - least) } else { 0.5 }))
                .collect();
            Some(vec![name.clone(), strip, format!("{:.3}", all.first()?), format!("{:.3}", all.last()?)])
        })
        .collect()
}

/// A block as high as `share`, from 0 to 1.
fn bar(share: f64) -> char {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    BARS[((share * 8.0) as usize).min(7)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(pairs: &[(&str, f64)]) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        pairs.iter().for_each(|(name, value)| diagnostics.set(name, *value));
        diagnostics
    }

    #[test]
    fn verdicts() {
        let said = |entropy, repeats, updates| {
            verdict(Some(&figures(&[("entropy_normalised", entropy), ("repeats", repeats), ("updates", updates)])))
        };
        assert!(verdict(None).contains("not been updated yet"));
        assert!(said(0.5, 0.1, 12.0).contains("its entropy is 50 % of an even one"));
        assert!(said(0.99, 0.0, 20.0).contains("learned nothing"));
        assert!(!said(0.99, 0.0, 3.0).contains("learned nothing"), "too early to tell");
        assert!(said(0.01, 0.0, 20.0).contains("collapsed") && said(0.5, 0.95, 20.0).contains("collapsed"));
    }

    #[test]
    fn calibrations() {
        let bins = vec![[-0.6, -0.4], [0.5, 0.25]];
        let said = |bias, correlation| calibration(&Reliability { states: 90, bias, correlation, bins: bins.clone() });
        let text = said(0.04, Some(0.4));
        assert!(text.starts_with("The value function expected 0.04 too much on average; its predictions"), "{text}");
        assert!(text.contains("correlation of 0.40") && text.contains("last 90 states"), "{text}");
        assert!(text.contains("lowest") && text.contains("-0.20") && text.contains("+0.25"), "{text}");
        assert!(said(-0.04, None).contains("0.04 too little on average; its predictions have no correlation"));
        assert!(said(0.001, None).contains("expected as much as came"));
    }

    #[test]
    fn bars() {
        let strip: String = [0.0, 0.2, 0.5, 0.99, 1.0].map(bar).iter().collect();
        assert_eq!(strip, "▁▂▅██");
    }
}
