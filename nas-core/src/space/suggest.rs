//! The nearest name to one that is not there.

/// `; did you mean "name"?` for the candidate nearest to `given`, or nothing when none is near.
pub fn hint<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let length = given.chars().count();
    let far = (1 + length / 4).min(length / 2);
    let near = candidates
        .into_iter()
        .map(|candidate| (distance(given, candidate), candidate))
        .filter(|&(distance, _)| distance <= far)
        .min();
    near.map(|(_, name)| format!("; did you mean \"{name}\"?")).unwrap_or_default()
}

/// Edits (insert, delete, replace, swap neighbours) that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // Far apart in length is far apart, and long paths stay cheap.
    if a.len().abs_diff(b.len()) > 1 + a.len() / 4 {
        return usize::MAX;
    }
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + usize::from(a[i - 1] != b[j - 1]));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_or_nothing() {
        assert_eq!(hint("stme", ["stem", "step", "width"]), "; did you mean \"stem\"?");
        assert_eq!(hint("attention", ["conv3x3", "skip"]), "");
        assert_eq!(hint("c", ["a", "b"]), "");
        assert_eq!(hint("optoins", ["options", "option"]), "; did you mean \"options\"?");
        assert_eq!(hint("x", []), "");
    }

    #[test]
    fn edits() {
        for (a, b, edits) in
            [("", "", 0), ("ab", "ba", 1), ("kitten", "sitten", 1), ("abc", "abd", 1), ("abcd", "acbe", 2)]
        {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }
}
