//! What an agent says of itself: a few named numbers, put into a map only when somebody asks.

use nas_core::Diagnostics;

/// Named figures of the last update.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures(Vec<(&'static str, f64)>);

impl Figures {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes note of a figure, unless it does not exist: the mean of no reward, the variance explained where there is none.
    pub(crate) fn set(&mut self, name: &'static str, figure: f64) {
        if figure.is_finite() {
            self.0.push((name, figure));
        }
    }

    pub(crate) fn diagnostics(&self) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        self.0.iter().for_each(|&(name, figure)| diagnostics.set(name, figure));
        diagnostics
    }
}

/// The mean; NaN of nothing.
pub(crate) fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

/// The mean squared distance from the mean.
pub(crate) fn variance(x: &[f64]) -> f64 {
    let mean = mean(x);
    x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64
}
