//! Splits.

use rand::seq::SliceRandom as _;

use super::DataError;
use crate::Rng;

/// The numbers of the examples in two parts, each in ascending order: the second has `share` of every class, rounded so that
/// the whole is right too, and every class is in both.
///
/// # Errors
/// When a class that occurs has fewer than two examples.
pub fn stratified(
    labels: &[u32],
    classes: usize,
    share: f64,
    rng: &mut Rng,
) -> Result<(Vec<usize>, Vec<usize>), DataError> {
    let mut members = vec![Vec::new(); classes];
    for (i, &label) in labels.iter().enumerate() {
        members[label as usize].push(i);
    }
    if let Some(class) = members.iter().position(|m| m.len() == 1) {
        return Err(DataError::ClassTooSmall { class, count: 1, need: 2 });
    }
    // The largest remainders are rounded up until the total fits.
    let exact: Vec<f64> = members.iter().map(|m| m.len() as f64 * share).collect();
    let mut counts: Vec<usize> = exact.iter().map(|x| x.floor() as usize).collect();
    let wanted = (labels.len() as f64 * share).round() as usize;
    let mut by_remainder: Vec<usize> = (0..classes).collect();
    by_remainder.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()).then(a.cmp(&b)));
    let missing = wanted.saturating_sub(counts.iter().sum());
    for &class in by_remainder.iter().take(missing) {
        counts[class] += 1;
    }
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for (members, count) in members.iter_mut().zip(counts) {
        members.shuffle(rng);
        let count = if members.is_empty() { 0 } else { count.clamp(1, members.len() - 1) };
        second.extend_from_slice(&members[..count]);
        first.extend_from_slice(&members[count..]);
    }
    first.sort_unstable();
    second.sort_unstable();
    Ok((first, second))
}

/// The numbers of `n` examples in two parts, each in ascending order: the second has `share` of them, and neither is empty if there are
/// two or more.
pub(super) fn shuffled(n: usize, share: f64, rng: &mut Rng) -> (Vec<usize>, Vec<usize>) {
    let mut all: Vec<usize> = (0..n).collect();
    all.shuffle(rng);
    let count = ((n as f64 * share).round() as usize).clamp(1, n.max(2) - 1).min(n);
    let mut first = all.split_off(count);
    first.sort_unstable();
    all.sort_unstable();
    (first, all)
}

#[cfg(test)]
mod tests {
    use nas_core::{Purpose, Seed};

    use super::*;

    fn split(labels: &[u32], share: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
        stratified(labels, 3, share, &mut Seed::new(seed).stream(Purpose::Split, 0)).unwrap()
    }

    #[test]
    fn every_class_has_its_share() {
        let labels: Vec<u32> = (0..100)
            .map(|i| {
                if i < 50 {
                    0
                } else if i < 80 {
                    1
                } else {
                    2
                }
            })
            .collect();
        let (train, validation) = split(&labels, 0.2, 1);
        let counts = |part: &[usize]| [0, 1, 2].map(|c| part.iter().filter(|&&i| labels[i] == c).count());
        assert_eq!((counts(&train), counts(&validation)), ([40, 24, 16], [10, 6, 4]));
        let mut all: Vec<usize> = train.iter().chain(&validation).copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_eq!(split(&labels, 0.2, 1), split(&labels, 0.2, 1));
        assert_ne!(split(&labels, 0.2, 1), split(&labels, 0.2, 2));
    }

    #[test]
    fn remainders_add_up() {
        let labels = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2];
        let (train, validation) = split(&labels, 0.4, 3);
        assert_eq!((train.len(), validation.len()), (6, 4));
    }

    #[test]
    fn small_classes_are_in_both_parts() {
        let labels = [0, 0, 1, 1, 2, 2];
        let (train, validation) = split(&labels, 0.01, 3);
        assert_eq!((train.len(), validation.len()), (3, 3));
    }

    #[test]
    fn shuffled_parts_have_their_share() {
        let parts = |n, share| {
            let (first, second) = shuffled(n, share, &mut Seed::new(4).stream(Purpose::Split, 0));
            let mut all = [first.as_slice(), &second].concat();
            all.sort_unstable();
            assert_eq!(all, (0..n).collect::<Vec<_>>());
            (first.len(), second.len())
        };
        assert_eq!([parts(10, 0.2), parts(2, 0.01), parts(2, 0.99), parts(1, 0.5)], [(8, 2), (1, 1), (1, 1), (0, 1)]);
    }

    #[test]
    fn a_single_example_cannot_be_split() {
        let mut rng = Seed::new(0).stream(Purpose::Split, 0);
        let error = stratified(&[0, 0, 1], 2, 0.5, &mut rng).unwrap_err();
        assert_eq!(error.to_string(), "class 1 has 1 training examples; 2 are needed so that every part has one");
    }
}
