//! Time series: numbers of several channels over time, and a class for each series.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ts::Recording;
use super::{DataError, stratified};
use crate::Rng;

/// Labelled series of one length, in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Numbers at every step.
    pub channels: usize,
    /// Steps of every series; recordings of other lengths were stretched or shortened to it.
    pub steps: usize,
    /// The names of the classes.
    pub class_names: Vec<String>,
    /// The numbers, `channels × steps` a series.
    pub values: Vec<f32>,
    /// The classes, one a series.
    pub labels: Vec<u32>,
}

/// Every channel's mean and standard deviation, by which numbers are standardised; fitted on training data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesPreparation {
    /// The mean of each channel.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel; 1 where nothing varies.
    pub std: Vec<f32>,
}

impl Series {
    /// The number of series.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The numbers of series `i`, channel by channel.
    ///
    /// # Panics
    /// When there is no such series.
    pub fn series(&self, i: usize) -> &[f32] {
        let size = self.channels * self.steps;
        &self.values[i * size..][..size]
    }

    /// How many series every class has.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.class_names.len()];
        self.labels.iter().for_each(|&label| counts[label as usize] += 1);
        counts
    }

    /// The series with these numbers, in that order.
    #[must_use]
    pub fn subset(&self, indices: &[usize]) -> Self {
        Series {
            class_names: self.class_names.clone(),
            values: indices.iter().flat_map(|&i| self.series(i)).copied().collect(),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
            ..*self
        }
    }

    /// Two parts, the second with `share` of every class, drawn from `rng`.
    ///
    /// # Errors
    /// When a class that occurs has fewer than two series.
    pub fn split(&self, share: f64, rng: &mut Rng) -> Result<(Self, Self), DataError> {
        let (first, second) = stratified(&self.labels, self.class_names.len(), share, rng)?;
        Ok((self.subset(&first), self.subset(&second)))
    }

    /// The recordings, each stretched or shortened to `steps`; classes are those of `class_names`.
    ///
    /// # Errors
    /// When a recording has another number of channels than `channels`, or a class that is none of the names, by its line. Without
    /// `labelled` nobody looks at classes and every series is of the first.
    pub(super) fn of(
        recordings: &[Recording],
        path: &Path,
        [channels, steps]: [usize; 2],
        class_names: &[String],
        labelled: bool,
    ) -> Result<Self, DataError> {
        let mut values = Vec::with_capacity(recordings.len() * channels * steps);
        let mut labels = Vec::with_capacity(recordings.len());
        for recording in recordings {
            let wrong = |message: String| DataError::Series { path: path.to_owned(), line: recording.line, message };
            let found = recording.channels.len();
            if found != channels {
                return Err(wrong(format!("it has {found} channels; {channels} are needed")));
            }
            let label = class_names.iter().position(|name| *name == recording.class);
            let label = match label {
                Some(label) => label,
                None if !labelled => 0,
                None => {
                    let known = class_names.join(", ");
                    return Err(wrong(format!("its class is \"{}\"; classes: {known}", recording.class)));
                }
            };
            labels.push(u32::try_from(label).expect("there are few classes"));
            recording.channels.iter().for_each(|channel| stretch(channel, steps, &mut values));
        }
        Ok(Series { channels, steps, class_names: class_names.to_vec(), values, labels })
    }

    /// Writes the series with these numbers, standardised, into `values` and their classes into `labels`.
    ///
    /// # Panics
    /// When a slice is too short for them or a number too large.
    pub fn fill(&self, indices: &[usize], preparation: &SeriesPreparation, values: &mut [f32], labels: &mut [f32]) {
        let size = self.channels * self.steps;
        for ((&i, to), label) in indices.iter().zip(values.chunks_exact_mut(size)).zip(labels) {
            let rows = to.chunks_exact_mut(self.steps).zip(self.series(i).chunks_exact(self.steps));
            for ((to, from), (mean, std)) in rows.zip(preparation.mean.iter().zip(&preparation.std)) {
                to.iter_mut().zip(from).for_each(|(y, x)| *y = (x - mean) / std);
            }
            *label = self.labels[i] as f32;
        }
    }
}

impl SeriesPreparation {
    /// Fits `series`.
    pub fn fit(series: &Series) -> Self {
        let n = (series.len() * series.steps).max(1) as f64;
        let of = |channel: usize| {
            (0..series.len()).flat_map(move |i| series.series(i)[channel * series.steps..][..series.steps].iter())
        };
        let (mut mean, mut std) = (Vec::new(), Vec::new());
        for channel in 0..series.channels {
            let m = of(channel).map(|&x| f64::from(x)).sum::<f64>() / n;
            let variance = of(channel).map(|&x| (f64::from(x) - m).powi(2)).sum::<f64>() / n;
            mean.push(m as f32);
            std.push(if variance > 0.0 { variance.sqrt() as f32 } else { 1.0 });
        }
        SeriesPreparation { mean, std }
    }
}

/// `channel` at `steps` places evenly spread from its beginning to its end, by straight lines.
fn stretch(channel: &[f32], steps: usize, to: &mut Vec<f32>) {
    let last = channel.len() - 1;
    if last + 1 == steps {
        to.extend_from_slice(channel);
        return;
    }
    for step in 0..steps {
        let place = if steps > 1 { step as f64 * last as f64 / (steps - 1) as f64 } else { 0.0 };
        let before = (place as usize).min(last);
        let after = (before + 1).min(last);
        let share = place - before as f64;
        to.push((f64::from(channel[before]) * (1.0 - share) + f64::from(channel[after]) * share) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretching_goes_along_lines() {
        let of = |channel: &[f32], steps| {
            let mut to = Vec::new();
            stretch(channel, steps, &mut to);
            to
        };
        assert_eq!(of(&[0.0, 2.0], 5), [0.0, 0.5, 1.0, 1.5, 2.0]);
        assert_eq!(of(&[0.0, 1.0, 2.0, 3.0, 4.0], 3), [0.0, 2.0, 4.0]);
        assert_eq!(of(&[7.0], 3), [7.0, 7.0, 7.0]);
        assert_eq!(of(&[7.0, 8.0], 1), [7.0]);
    }

    #[test]
    fn channels_are_standardised_by_themselves() {
        let names = vec!["a".to_owned(), "b".to_owned()];
        let values = vec![1.0, 3.0, 5.0, 5.0, 3.0, 5.0, 5.0, 5.0];
        let series = Series { channels: 2, steps: 2, class_names: names, values, labels: vec![1, 0] };
        let preparation = SeriesPreparation::fit(&series);
        assert_eq!((preparation.mean[0], preparation.std), (3.0, vec![2.0_f32.sqrt(), 1.0]));
        let preparation = SeriesPreparation { mean: vec![3.0, 5.0], std: vec![2.0, 1.0] };
        let (mut values, mut labels) = ([9.0; 8], [9.0; 2]);
        series.fill(&[1, 0], &preparation, &mut values, &mut labels);
        assert_eq!((values, labels), ([0.0, 1.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0], [0.0, 1.0]));
    }
}
