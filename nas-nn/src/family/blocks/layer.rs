//! The layers of a network of blocks as values of a graph.

use super::form::{Form, Sizes, stride};
use super::kind::{Key, Kind, Setting};
use super::run::{Halt, Setup};
use crate::graph::Var;
use crate::layer::learned_positions;
use crate::op::{Activation, Attention, Conv1d, Conv2d, Gru, Lstm};

/// The settings of a layer by key; those that nobody asked for are missing.
#[derive(Debug, Default)]
pub(super) struct Settings(Vec<(&'static str, Setting)>);

impl Settings {
    /// What `of` says of each key of `kind`.
    pub(super) fn new(
        kind: &'static Kind,
        mut of: impl FnMut(&'static Key) -> Result<Option<Setting>, Halt>,
    ) -> Result<Self, Halt> {
        let mut all = Vec::with_capacity(kind.keys.len());
        for key in kind.keys {
            if let Some(setting) = of(key)? {
                all.push((key.name, setting));
            }
        }
        Ok(Settings(all))
    }

    fn get(&self, key: &str) -> Option<&Setting> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, setting)| setting)
    }

    fn size(&self, key: &str) -> Option<usize> {
        self.get(key).and_then(Setting::number).and_then(|n| usize::try_from(n).ok())
    }

    fn name(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(Setting::Name(name)) => Some(name),
            _ => None,
        }
    }

    /// What decides about forms, for a value of the form `x`.
    pub(super) fn sizes(&self, x: Form) -> Sizes<'_> {
        let usual = match x {
            Form::Image { .. } => "batch",
            _ => "layer",
        };
        // A norm block has a kind; its own key is the norm behind a layer.
        let norm = self.name("norm").or_else(|| self.name("kind").or(Some(usual)));
        Sizes {
            width: self.size("width"),
            kernel: self.size("kernel").unwrap_or(1),
            stride: self.size("stride"),
            groups: self.size("groups").unwrap_or(1),
            heads: self.size("heads").unwrap_or(1),
            padding: self.name("padding").unwrap_or("same"),
            norm,
            pool: self.name("pool").unwrap_or("mean"),
        }
    }
}

/// What the layer makes of `x`, a value of the form `from`; the result is of the form `to`, which was found to fit.
pub(super) fn build<'g>(kind: &Kind, settings: &Settings, x: Var<'g>, from: Form, to: Form, setup: Setup) -> Var<'g> {
    let sizes = settings.sizes(from);
    let width = sizes.width.unwrap_or(0);
    match kind.name {
        "conv" => after(conv(x, from, &sizes, setup.causal), settings, &sizes),
        "max_pool" => pool(x, from, &sizes, true),
        "avg_pool" => pool(x, from, &sizes, false),
        "global_pool" => mean(x, from),
        "flatten" => x.flatten(),
        "tokens" => {
            let channels = x.dim(0);
            x.reshape(&[channels, x.dim(1) * x.dim(2)]).transpose()
        }
        "linear" => after(x.linear(width), settings, &sizes),
        "lstm" => x.lstm(Lstm::new(width)),
        "gru" => x.gru(Gru::new(width)),
        "attention" if setup.causal => x.self_attention(Attention::new(sizes.heads).causal()),
        "attention" => x.self_attention(Attention::new(sizes.heads)),
        "embedding" => x.embedding(setup.vocabulary, width),
        "positions" => learned_positions(x, x.dim(0)),
        "norm" => norm(x, sizes.norm, sizes.groups),
        "activation" => activation(x, settings.name("kind")),
        "dropout" => x.dropout(settings.get("rate").and_then(Setting::real).unwrap_or(0.0) as f32),
        "head" => head(x, from, sizes.pool, setup),
        _ => {
            debug_assert_eq!(from, to, "only identity has no case of its own");
            x
        }
    }
}

/// The norm and the activation behind a layer.
fn after<'g>(x: Var<'g>, settings: &Settings, sizes: &Sizes<'_>) -> Var<'g> {
    activation(norm(x, sizes.norm, 1), settings.name("activation"))
}

fn norm<'g>(x: Var<'g>, kind: Option<&str>, groups: usize) -> Var<'g> {
    match kind {
        Some("batch") => x.batch_norm(),
        Some("layer") => x.layer_norm(),
        Some("rms") => x.rms_norm(),
        Some("group") => x.group_norm(groups),
        _ => x,
    }
}

fn activation<'g>(x: Var<'g>, name: Option<&str>) -> Var<'g> {
    match name.and_then(|name| name.parse::<Activation>().ok()) {
        Some(activation) => x.activation(activation),
        None => x,
    }
}

fn conv<'g>(x: Var<'g>, from: Form, sizes: &Sizes<'_>, causal: bool) -> Var<'g> {
    let (kernel, stride) = (sizes.kernel, stride(sizes, false));
    // Padding of kernel − 1 in all keeps the size of stride 1, for even kernels too.
    let [before, behind] = match sizes.padding {
        "same" if causal => [kernel - 1, 0],
        "same" => [(kernel - 1) / 2, kernel / 2],
        _ => [0, 0],
    };
    let width = sizes.width.unwrap_or(0);
    if matches!(from, Form::Image { .. }) {
        let conv = Conv2d::new(width, kernel).stride(stride).groups(sizes.groups);
        return x.conv(conv.padding([before, before, behind, behind]));
    }
    let conv = Conv1d::new(width, kernel).stride(stride).groups(sizes.groups).padding([before, behind]);
    x.transpose().conv1d(conv).transpose()
}

fn pool<'g>(x: Var<'g>, from: Form, sizes: &Sizes<'_>, maximum: bool) -> Var<'g> {
    let (kernel, stride) = (sizes.kernel, stride(sizes, true));
    let padding = if sizes.padding == "same" { kernel / 2 } else { 0 };
    match (from, maximum) {
        (Form::Image { .. }, true) => x.max_pool2d_with(kernel, stride, padding),
        (Form::Image { .. }, false) => x.avg_pool2d(kernel, stride, padding),
        (_, true) => x.transpose().max_pool1d_with(kernel, stride, padding).transpose(),
        (_, false) => x.transpose().avg_pool1d(kernel, stride, padding).transpose(),
    }
}

/// The mean over pixels or steps.
fn mean(x: Var<'_>, from: Form) -> Var<'_> {
    match from {
        Form::Image { .. } => x.global_avg_pool(),
        Form::Sequence { .. } => x.mean_axis(0),
        _ => x,
    }
}

/// The answer from features of the form `from`.
pub(super) fn head<'g>(x: Var<'g>, from: Form, pool: &str, setup: Setup) -> Var<'g> {
    let x = match pool {
        _ if setup.causal => x,
        "flatten" => x.flatten(),
        _ => mean(x, from),
    };
    x.linear(setup.units)
}

/// `x` with the features of `form`, by a linear map at every pixel or step.
pub(super) fn project<'g>(x: Var<'g>, form: Form) -> Var<'g> {
    let Some(features) = form.features() else { return x };
    x.scope("project", |x| match form {
        Form::Image { .. } => x.conv2d(features, 1),
        _ => x.linear_no_bias(features),
    })
}

/// The sum of `all`, each projected to the features of `form` unless it has as many.
pub(super) fn add<'g>(all: &[Var<'g>], form: Form) -> Var<'g> {
    let shape = all[0].shape();
    let fitted = |&x: &Var<'g>| if x.shape() == shape { x } else { project(x.at(all[0]), form) };
    all[1..].iter().map(fitted).fold(all[0], |sum, x| sum + x)
}

/// `all` side by side.
pub(super) fn concat<'g>(all: &[Var<'g>], form: Form) -> Var<'g> {
    let axis = usize::from(matches!(form, Form::Sequence { .. }));
    all[0].concat(&all[1..], axis)
}
