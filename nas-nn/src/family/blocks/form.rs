//! What forms of values the layers of a network take and yield: worked out without a graph, so that what cannot fit is known ahead.

use super::kind::Kind;

/// The form of a value for one example.
///
/// Widths are unknown (none) where nothing asks for them; sizes always are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A class number at each of so many places: characters.
    Classes { steps: usize },
    /// Channels of `height` × `width` pixels.
    Image { channels: Option<usize>, height: usize, width: usize },
    /// Features at each of so many steps.
    Sequence { steps: usize, width: Option<usize> },
    /// Features.
    Vector { width: Option<usize> },
    /// What the head yields.
    Answer,
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Form::Classes { steps } => write!(f, "{steps} characters"),
            Form::Image { height, width, .. } => write!(f, "an image of {height}×{width} pixels"),
            Form::Sequence { steps, .. } => write!(f, "a sequence of {steps} steps"),
            Form::Vector { .. } => f.write_str("a vector"),
            Form::Answer => f.write_str("the answer of the head"),
        }
    }
}

impl Form {
    /// Its features: channels of an image; none if unknown or no features.
    pub(super) fn features(self) -> Option<usize> {
        match self {
            Form::Image { channels, .. } => channels,
            Form::Sequence { width, .. } | Form::Vector { width } => width,
            Form::Classes { .. } | Form::Answer => None,
        }
    }

    /// The same form with other features.
    pub(super) fn with_features(self, features: Option<usize>) -> Form {
        match self {
            Form::Image { height, width, .. } => Form::Image { channels: features, height, width },
            Form::Sequence { steps, .. } => Form::Sequence { steps, width: features },
            Form::Vector { .. } => Form::Vector { width: features },
            other => other,
        }
    }

    /// Words that are equal for equal forms.
    pub(super) fn words(self) -> [u64; 4] {
        let width = |width: Option<usize>| width.map_or(0, |width| width as u64);
        match self {
            Form::Classes { steps } => [0, steps as u64, 0, 0],
            Form::Image { channels, height, width: w } => [1, height as u64, w as u64, width(channels)],
            Form::Sequence { steps, width: w } => [2, steps as u64, 0, width(w)],
            Form::Vector { width: w } => [3, 0, 0, width(w)],
            Form::Answer => [4, 0, 0, 0],
        }
    }
}

/// The settings of a layer that decide about forms.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sizes<'a> {
    pub(super) width: Option<usize>,
    pub(super) kernel: usize,
    pub(super) stride: Option<usize>,
    pub(super) groups: usize,
    pub(super) heads: usize,
    /// `same` or `valid`.
    pub(super) padding: &'a str,
    /// The norm behind a layer, or the norm that it is; none: the usual one.
    pub(super) norm: Option<&'a str>,
    /// What the head does with an image or sequence.
    pub(super) pool: &'a str,
}

/// The steps of a window along `size`.
pub(super) fn stride(sizes: &Sizes<'_>, pools: bool) -> usize {
    let usual = if pools && sizes.padding == "valid" { sizes.kernel } else { 1 };
    sizes.stride.unwrap_or(usual)
}

/// What `kind` makes of a value of that form. In a `causal` network nothing may see later steps, and every step has an answer.
///
/// # Errors
/// Why it does not fit, in words.
pub(super) fn after(kind: &Kind, sizes: &Sizes<'_>, x: Form, causal: bool) -> Result<Form, String> {
    let no = |needs: &str| Err(format!("it needs {needs}, and this is {x}"));
    if x == Form::Answer {
        return Err("nothing stands behind the head".to_owned());
    }
    if matches!(x, Form::Classes { .. }) && kind.name != "embedding" && kind.name != "identity" {
        return Err(format!("it needs numbers, and these are {x}: put an embedding before it"));
    }
    let whole = "every character has an answer of its own, so text keeps its steps";
    match kind.name {
        "conv" => {
            let pools = false;
            let (x, shape) = (windowed(sizes, x, causal, pools)?, x);
            divides(shape.features(), sizes.groups, "groups")?;
            divides(sizes.width, sizes.groups, "groups")?;
            normed(x.with_features(sizes.width), sizes, false)
        }
        "max_pool" | "avg_pool" if causal => Err(format!("pooling would look ahead; {whole}")),
        "max_pool" | "avg_pool" => windowed(sizes, x, causal, true),
        "global_pool" | "flatten" if causal => Err(whole.to_owned()),
        "global_pool" => match x {
            Form::Image { channels: width, .. } | Form::Sequence { width, .. } => Ok(Form::Vector { width }),
            _ => no("an image or a sequence"),
        },
        "flatten" => Ok(flat(x)),
        "tokens" => match x {
            Form::Image { channels, height, width } => Ok(Form::Sequence { steps: height * width, width: channels }),
            _ => no("an image"),
        },
        "linear" => match x {
            Form::Sequence { .. } | Form::Vector { .. } => normed(x.with_features(sizes.width), sizes, false),
            _ => no("a sequence or a vector (flatten, global_pool or tokens make one)"),
        },
        "lstm" | "gru" => match x {
            Form::Sequence { .. } => Ok(x.with_features(sizes.width)),
            _ => no("a sequence (tokens makes one of an image)"),
        },
        "attention" => match x {
            Form::Sequence { width, .. } => divides(width, sizes.heads, "heads").map(|()| x),
            _ => no("a sequence (tokens makes one of an image)"),
        },
        "embedding" => match x {
            Form::Classes { steps } => Ok(Form::Sequence { steps, width: sizes.width }),
            _ => no("characters"),
        },
        "positions" => match x {
            Form::Sequence { .. } => Ok(x),
            _ => no("a sequence"),
        },
        "norm" => normed(x, sizes, true),
        "head" => Ok(Form::Answer),
        _ => Ok(x), // activation, dropout, identity
    }
}

/// All features of all places side by side.
fn flat(x: Form) -> Form {
    let times = |places: usize, width: Option<usize>| Form::Vector { width: width.map(|width| width * places) };
    match x {
        Form::Image { channels, height, width } => times(height * width, channels),
        Form::Sequence { steps, width } => times(steps, width),
        other => other,
    }
}

/// The form behind a window that moves over the pixels of an image or the steps of a sequence.
fn windowed(sizes: &Sizes<'_>, x: Form, causal: bool, pools: bool) -> Result<Form, String> {
    let (kernel, stride) = (sizes.kernel, stride(sizes, pools));
    let same = sizes.padding == "same";
    if pools && same && kernel.is_multiple_of(2) {
        return Err(format!("a pooling that is padded has an odd kernel, and this is {kernel}"));
    }
    if causal && (stride != 1 || !same) {
        return Err(
            "every character has an answer of its own, so text keeps its steps: stride 1, padding same".to_owned()
        );
    }
    let size = |size: usize| match size.checked_sub(kernel) {
        None => Err(format!("a kernel of {kernel} is larger than {x}")),
        Some(_) if same => Ok(size.div_ceil(stride)),
        Some(room) => Ok(room / stride + 1),
    };
    match x {
        Form::Image { channels, height, width } => {
            Ok(Form::Image { channels, height: size(height)?, width: size(width)? })
        }
        Form::Sequence { steps, width } => Ok(Form::Sequence { steps: size(steps)?, width }),
        _ => Err(format!("it needs an image or a sequence, and this is {x}")),
    }
}

/// Whether the norm of `sizes` fits `x`; `is` one, or stands behind a layer.
fn normed(x: Form, sizes: &Sizes<'_>, is: bool) -> Result<Form, String> {
    match (sizes.norm, x) {
        (None | Some("none"), _) => Ok(x),
        (Some("group"), Form::Image { channels: width, .. } | Form::Vector { width }) if is => {
            divides(width, sizes.groups, "groups").map(|()| x)
        }
        (Some("batch"), Form::Image { .. } | Form::Vector { .. }) => Ok(x),
        (Some("layer" | "rms"), Form::Sequence { .. } | Form::Vector { .. }) => Ok(x),
        (Some(norm), _) => {
            let fitting = match x {
                Form::Image { .. } => "batch and group",
                Form::Sequence { .. } => "layer and rms",
                _ => "batch, layer, rms and group",
            };
            Err(format!("there is no {norm} norm of {x}; there are {fitting}"))
        }
    }
}

fn divides(width: Option<usize>, parts: usize, what: &str) -> Result<(), String> {
    match width {
        Some(width) if parts == 0 || !width.is_multiple_of(parts) => {
            Err(format!("{width} features do not divide into {parts} {what}"))
        }
        _ => Ok(()),
    }
}

/// The form of branches joined: `add` takes the first's features, `concat` those of all side by side.
pub(super) fn joined(branches: &[Form], concat: bool) -> Result<Form, String> {
    let first = branches[0];
    for other in &branches[1..] {
        if first.with_features(None) != other.with_features(None) {
            return Err(format!("one side yields {first} and another {other}; they cannot be joined"));
        }
    }
    if matches!(first, Form::Classes { .. } | Form::Answer) {
        return Err(format!("sides that yield {first} cannot be joined"));
    }
    let all = branches.iter().map(|branch| branch.features()).sum::<Option<usize>>();
    Ok(first.with_features(if concat { all } else { first.features() }))
}
