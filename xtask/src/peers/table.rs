//! The tables, as Markdown that reads well in a terminal.

use super::results::{ChildrenRow, OtherRow, Results, StartRow, StepRow, Target};

/// All tables, each under its heading.
pub(crate) fn all(results: &Results) -> String {
    let mut text = String::new();
    for threads in results.threads() {
        let number = number(threads);
        text += &format!("## A training step, {number}\n\n{}\n", steps(&results.step_rows(threads), threads));
    }
    for threads in results.threads() {
        let rows = results.other_rows(threads);
        if !rows.is_empty() {
            text += &format!("## Other engines in Rust, {}\n\n{}\n", number(threads), others(&rows));
        }
    }
    let starts = results.start_rows();
    if !starts.is_empty() {
        text += &format!("## Starting and memory, one thread\n\n{}\n", starting(&starts));
    }
    let children = results.children_rows();
    if !children.is_empty() {
        text += &format!("## Eight children on two cores\n\n{}\n", populations(&children));
    }
    text
}

fn number(threads: usize) -> String {
    if threads == 1 { "one thread".to_owned() } else { format!("{threads} threads") }
}

fn others(rows: &[OtherRow]) -> String {
    let head = ["workload", "engine", "ms: min / median", "ours is faster by", "PyTorch is faster by"];
    let lines = rows.iter().map(|row| {
        let times = format!("{} / {}", short(row.fastest_ms), short(row.median_ms));
        let ratios = row.ratios.as_ref().map(|pair| pair.map(|&ratio| format!("{ratio:.1}×")));
        let (ours, torch) = ratios.map_or_else(Default::default, |pair| (pair.ours, pair.torch));
        vec![title(&row.workload), row.engine.to_owned(), times, ours, torch]
    });
    table(&head, &lines.collect::<Vec<_>>())
}

fn steps(rows: &[StepRow], threads: usize) -> String {
    let head = [
        "workload",
        "ours, ms: min / median",
        "PyTorch, ms: min / median",
        "ratio (rounds)",
        "must",
        "aim",
        "reached",
        "of best product",
    ];
    let lines = rows.iter().map(|row| {
        let note = if row.our_threads < threads { format!(", ours on {}", row.our_threads) } else { String::new() };
        let mut line = vec![
            format!("{}{note}", title(&row.workload)),
            format!("{} / {}", short(row.fastest.ours), short(row.medians.ours)),
            format!("{} / {}", short(row.fastest.torch), short(row.medians.torch)),
            format!("{:.2} ({:.2} to {:.2})", row.ratio, row.least, row.most),
        ];
        line.extend(held_against(row.ratio, row.target));
        line.push(row.share.map_or("".to_owned(), |share| format!("{:.0} %", 100.0 * share)));
        line
    });
    table(&head, &lines.collect::<Vec<_>>())
}

fn starting(rows: &[StartRow]) -> String {
    let head = ["workload", "what", "ours", "PyTorch", "ratio", "must", "aim", "reached"];
    let lines = rows.iter().map(|row| {
        let with_unit = |value: f64| format!("{} {}", short(value), row.unit);
        let mut line = vec![title(&row.workload), row.what.to_owned()];
        line.extend([with_unit(row.pair.ours), with_unit(row.pair.torch), short(row.ratio)]);
        line.extend(held_against(row.ratio, row.target));
        line
    });
    table(&head, &lines.collect::<Vec<_>>())
}

fn populations(rows: &[ChildrenRow]) -> String {
    let head = [
        "workload",
        "steps a child",
        "ours, children a minute",
        "PyTorch",
        "its best arrangement",
        "ratio",
        "must",
        "aim",
        "reached",
    ];
    let lines = rows.iter().map(|row| {
        let rates = row.rates().map(|&rate| short(rate));
        let layout = row.arrangement.layout.replace('_', " ");
        let arrangement = match row.arrangement.processes {
            1 => format!("1 process, {} Python threads, {layout}", row.arrangement.threads),
            n => format!("{n} processes, {layout}"),
        };
        let mut line = vec![title(&row.workload), row.steps.to_string(), rates.ours, rates.torch, arrangement];
        line.push(format!("{:.2}", row.ratio));
        line.extend(held_against(row.ratio, row.target));
        line
    });
    table(&head, &lines.collect::<Vec<_>>())
}

/// What must be reached, what is aimed at, and which of them is.
fn held_against(ratio: f64, target: Option<Target>) -> [String; 3] {
    let Some(Target { must, aim }) = target else { return Default::default() };
    let reached = match ratio {
        ratio if ratio >= aim => "aim",
        ratio if ratio >= must => "must",
        _ => "no",
    };
    [must.to_string(), aim.to_string(), reached.to_owned()]
}

/// A workload's name and what it is.
pub(crate) fn title(workload: &str) -> String {
    let what = match workload {
        "W1" => "perceptron",
        "W2" => "small CNN",
        "W3" => "NAS-Bench-201, all 3×3",
        "W3b" => "NAS-Bench-201, best cell",
        "W4" => "inverted residuals",
        "W5" => "LSTM language model",
        "W5b" => "searched recurrent cell",
        "W6" => "Transformer language model",
        "W7" => "recommender",
        other => return other.to_owned(),
    };
    format!("{workload} {what}")
}

/// Three digits.
fn short(value: f64) -> String {
    let digits = match value {
        v if v < 1.0 => 3,
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

/// Cells in columns of even width.
pub(crate) fn table(head: &[&str], lines: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let count = |cell: &str| cell.chars().count();
    let width = |i: usize| std::iter::once(&head).chain(lines).map(|line| count(&line[i])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let row = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!(" {cell:width$} |"));
        format!("|{}\n", padded.collect::<String>())
    };
    let rule: String = widths.iter().map(|width| format!(" {} |", "-".repeat(*width))).collect();
    let body: String = lines.iter().map(|line| row(line)).collect();
    format!("{}|{rule}\n{body}", row(&head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::results::tests::results;

    #[test]
    fn columns_are_even() {
        let lines = vec![vec!["µs".to_owned(), "1".to_owned()], vec!["long".to_owned(), String::new()]];
        assert_eq!(table(&["a", "bc"], &lines), "| a    | bc |\n| ---- | -- |\n| µs   | 1  |\n| long |    |\n");
    }

    #[test]
    fn targets_are_judged() {
        let target = Some(Target { must: 2.0, aim: 2.5 });
        assert_eq!(held_against(1.99, target), ["2", "2.5", "no"]);
        assert_eq!(held_against(2.0, target)[2], "must");
        assert_eq!(held_against(2.5, target)[2], "aim");
        assert_eq!(held_against(9.0, None), ["", "", ""]);
    }

    #[test]
    fn three_digits() {
        assert_eq!([0.0594, 2.325, 52.34, 212.6].map(short), ["0.059", "2.33", "52.3", "213"]);
    }

    #[test]
    fn every_table_is_there() {
        let text = all(&results());
        let has = |line: &str| {
            let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
            assert!(text.lines().any(|found| cells(found) == cells(line)), "no line {line} in\n{text}");
        };
        has("## A training step, one thread");
        has("| W2 small CNN | 0.900 / 2.00 | 1.80 / 4.00 | 2.00 (1.00 to 3.00) | 2 | 2.5 | must | 30 % |");
        has("## A training step, 2 threads");
        has("| W2 small CNN, ours on 1 | 0.900 / 2.00 | 1.80 / 4.00 | 2.00 (1.00 to 3.00) | | | | 30 % |");
        has("| W3 NAS-Bench-201, all 3×3 | 90.0 / 100 | 80.0 / 90.0 | 0.90 (0.90 to 0.90) | 1 | 1.3 | no | |");
        has("## Other engines in Rust, one thread");
        has("| W2 small CNN | burn | 9.00 / 10.0 | 5.0× | 2.5× |");
        has("| W5 LSTM language model | burn | 90.0 / 100 | | |");
        has("| W2 small CNN | process start to first step done | 20.0 ms | 3000 ms | 150 | 50 | 100 | aim |");
        has("| W2 small CNN | 60 | 480 | 120 | 2 processes, channels last | 4.00 | 2 | 2.5 | aim |");
    }
}
