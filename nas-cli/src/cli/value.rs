//! How times, sizes, budgets and columns are written on the command line.

use std::time::Duration;

/// A duration: a number of seconds, or a number with s, m, h or d.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let scale = match unit {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err(format!("\"{unit}\" is no unit of time; write 90s, 10m, 2h or 1d")),
    };
    let number: f64 = number.parse().map_err(|_| "write 90s, 10m, 2h or 1d".to_owned())?;
    if number <= 0.0 {
        return Err("the time must be above zero".to_owned());
    }
    let time = Duration::try_from_secs_f64(number * scale).map_err(|_| "that time is too long".to_owned())?;
    if time.is_zero() { Err("the time must be above zero".to_owned()) } else { Ok(time) }
}

/// A number of bytes: plain, or with K, M, G, T (powers of 1024).
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let scale = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 1.0,
        "K" | "k" => 1024.0,
        "M" => 1024.0 * 1024.0,
        "G" => 1024.0 * 1024.0 * 1024.0,
        "T" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(format!("\"{unit}\" is no unit of memory; write 512M or 2G")),
    };
    let number: f64 = number.parse().map_err(|_| "write 512M or 2G".to_owned())?;
    let bytes = number * scale;
    if bytes > u64::MAX as f64 {
        return Err("that is more memory than there is".to_owned());
    }
    if bytes < 1.0 {
        return Err("the memory must be above zero".to_owned());
    }
    Ok(bytes as u64)
}

/// A budget of evaluations (100q) or of simulated seconds (20000s).
pub(super) fn limit(text: &str) -> Result<nas_core::benchmark::Limit, String> {
    use nas_core::benchmark::Limit;
    let wrong = || "write a number of evaluations such as 100q, or of seconds such as 20000s".to_owned();
    let (number, unit) = split(text);
    match unit {
        "" | "q" => number.parse().ok().filter(|&n: &usize| n > 0).map(Limit::Queries).ok_or_else(wrong),
        "s" => number.parse().ok().filter(|&s: &f64| s > 0.0).map(Limit::Seconds).ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

/// A metric's column, with `:max` or `:min`.
pub(super) fn metric(text: &str) -> Result<(String, Option<nas_core::Direction>), String> {
    use nas_core::Direction;
    match text.rsplit_once(':') {
        Some((name, "max")) => Ok((name.to_owned(), Some(Direction::Maximize))),
        Some((name, "min")) => Ok((name.to_owned(), Some(Direction::Minimize))),
        Some((_, other)) => Err(format!("\"{other}\" is no direction; write max or min")),
        None => Ok((text.to_owned(), None)),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-')).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert!(duration("0s").is_err() && duration("-1s").is_err() && duration("5 parsecs").is_err());
        assert!(duration("1e400h").is_err());
        assert_eq!(bytes("2G"), Ok(2 << 30));
        assert_eq!(bytes("512MiB"), Ok(512 << 20));
        assert!(matches!(limit("100q"), Ok(nas_core::benchmark::Limit::Queries(100))));
        assert!(limit("2e4").is_err() && limit("0q").is_err() && limit("-3s").is_err() && limit("5m").is_err());
        assert!(matches!(limit("1.5s"), Ok(nas_core::benchmark::Limit::Seconds(s)) if s == 1.5));
        assert_eq!(metric("a:b:min"), Ok(("a:b".to_owned(), Some(nas_core::Direction::Minimize))));
        assert!(metric("acc").is_ok_and(|(_, direction)| direction.is_none()) && metric("acc:up").is_err());
        assert!(bytes("0").is_err() && bytes("-3G").is_err() && bytes("2X").is_err());
    }
}
