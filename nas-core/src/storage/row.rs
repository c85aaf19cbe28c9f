//! Trials and figures as rows of the tables in `schema.sql`, and back.

use rusqlite::{Row, ToSql, named_params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::strategy::Diagnostics;
use crate::{Metrics, Seed, Trial, TrialState};

/// The columns of a trial, in the order [`read`] takes them.
pub(super) const SELECT: &str =
    "SELECT number, state, reward, seconds, architecture, origin, seed, metrics, failure FROM trials ORDER BY number";

const UPSERT: &str = "\
INSERT INTO trials (number, state, reward, seconds, architecture, origin, seed, metrics, failure)
VALUES (:number, :state, :reward, :seconds, :architecture, :origin, :seed, :metrics, :failure)
ON CONFLICT (number) DO UPDATE SET state = excluded.state, reward = excluded.reward, seconds = excluded.seconds,
architecture = excluded.architecture, origin = excluded.origin, seed = excluded.seed, metrics = excluded.metrics,
failure = excluded.failure";

/// Writes `trial`, replacing the one with the same number.
pub(super) fn write(connection: &rusqlite::Connection, trial: &Trial) -> rusqlite::Result<()> {
    let (state, reward, metrics, failure) = match &trial.state {
        TrialState::Running => ("running", None, None, None),
        TrialState::Complete { metrics, reward } => ("complete", Some(*reward), Some(figures(metrics.iter())), None),
        TrialState::Failed { failure } => ("failed", None, None, Some(json(failure)?)),
    };
    connection.prepare_cached(UPSERT)?.execute(named_params! {
        ":number": integer(trial.number)?,
        ":state": state,
        ":reward": reward,
        ":seconds": trial.seconds,
        ":architecture": json(&trial.architecture)?,
        ":origin": json(&trial.origin)?,
        ":seed": trial.seed.value().to_string(),
        ":metrics": metrics,
        ":failure": failure,
    })?;
    Ok(())
}

/// The trial in `row`, or what is wrong with it.
pub(super) fn read(row: &Row<'_>) -> Result<Trial, String> {
    let number = column::<i64>(row, 0)?;
    let read = || {
        let state: String = column(row, 1)?;
        let state = match state.as_str() {
            "running" => TrialState::Running,
            "complete" => TrialState::Complete {
                metrics: metrics(&column::<String>(row, 7)?)?,
                reward: Some(column::<f64>(row, 2)?).filter(|r| r.is_finite()).ok_or("its reward is not finite")?,
            },
            "failed" => TrialState::Failed { failure: parse(&column::<String>(row, 8)?)? },
            other => return Err(format!("its state is \"{other}\"")),
        };
        let seed: String = column(row, 6)?;
        Ok(Trial {
            number: u64::try_from(number).map_err(|_| "its number is negative")?,
            architecture: parse(&column::<String>(row, 4)?)?,
            origin: parse(&column::<String>(row, 5)?)?,
            seed: Seed::new(seed.parse().map_err(|_| format!("its seed is \"{seed}\""))?),
            state,
            seconds: column(row, 3)?,
        })
    };
    read().map_err(|why| format!("trial {number}: {why}"))
}

fn column<T: rusqlite::types::FromSql>(row: &Row<'_>, index: usize) -> Result<T, String> {
    row.get(index).map_err(|error| error.to_string())
}

/// `n` as SQLite's integer.
pub(super) fn integer(n: u64) -> rusqlite::Result<impl ToSql> {
    i64::try_from(n).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// `value` as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// The value of a JSON text.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Figures as a JSON object. JSON has no NaN and no infinities: they become text.
pub(super) fn figures<'a>(figures: impl Iterator<Item = (&'a str, f64)>) -> String {
    let object: Map<_, _> = figures
        .map(|(name, figure)| {
            let value = if figure.is_finite() { Value::from(figure) } else { Value::from(figure.to_string()) };
            (name.to_owned(), value)
        })
        .collect();
    Value::Object(object).to_string()
}

fn parse_figures(text: &str) -> Result<impl Iterator<Item = Result<(String, f64), String>>, String> {
    let object: Map<String, Value> = parse(text)?;
    Ok(object.into_iter().map(|(name, value)| {
        let figure = match &value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        figure.map(|figure| (name.clone(), figure)).ok_or_else(|| format!("the figure \"{name}\" is {value}"))
    }))
}

fn metrics(text: &str) -> Result<Metrics, String> {
    let mut metrics = Metrics::new();
    for figure in parse_figures(text)? {
        let (name, figure) = figure?;
        metrics.set(&name, figure);
    }
    Ok(metrics)
}

/// Diagnostics from their JSON.
pub(super) fn diagnostics(text: &str) -> Result<Diagnostics, String> {
    Ok(Diagnostics(parse_figures(text)?.collect::<Result<_, _>>()?))
}
