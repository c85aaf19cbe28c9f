//! 1-D convolution: stride, padding, dilation, groups; the kernel of the 2-D one on images of height 1.

use super::{Backward, Forward, Keeps, Op, conv2d};
use crate::graph::{Shape, Var};
use crate::init::Init;
use crate::kernel;

/// The settings of a 1-D convolution; [`Var::conv1d`] applies it.
///
/// ```
/// use nas_nn::{Graph, op::Conv1d};
///
/// let graph = Graph::new();
/// let x = graph.input("signal", &[4, 100]);
/// let causal = x.conv1d(Conv1d::new(8, 3).dilation(2).padding([4, 0]));
/// assert_eq!(causal.shape().to_string(), "[N, 8, 100]");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv1d {
    filters: usize,
    kernel: usize,
    stride: usize,
    padding: [usize; 2],
    dilation: usize,
    groups: usize,
    bias: bool,
}

impl Conv1d {
    /// `filters` filters of `kernel` elements, stride 1, padded by half the kernel, no bias.
    pub fn new(filters: usize, kernel: usize) -> Self {
        Conv1d { filters, kernel, stride: 1, padding: [kernel / 2; 2], dilation: 1, groups: 1, bias: false }
    }

    /// Steps of the kernel.
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Conv1d { stride, ..self }
    }

    /// Zeros around the input: before, after.
    #[must_use]
    pub fn padding(self, padding: [usize; 2]) -> Self {
        Conv1d { padding, ..self }
    }

    /// Distance of the kernel's elements; the padding keeps the length at stride 1.
    #[must_use]
    pub fn dilation(self, dilation: usize) -> Self {
        Conv1d { dilation, padding: [dilation.saturating_mul(self.kernel / 2); 2], ..self }
    }

    /// Groups of channels that see only each other.
    #[must_use]
    pub fn groups(self, groups: usize) -> Self {
        Conv1d { groups, ..self }
    }

    /// Whether a number is added to every filter's output.
    #[must_use]
    pub fn bias(self, bias: bool) -> Self {
        Conv1d { bias, ..self }
    }

    fn geometry(&self, x: &Shape, batch: usize) -> kernel::Conv2d {
        let [before, after] = self.padding;
        kernel::Conv2d {
            batch: x.copies(batch),
            channels: x.dims()[0],
            height: 1,
            width: x.dims()[1],
            filters: self.filters,
            kernel: [1, self.kernel],
            stride: [1, conv2d::short(self.stride, self.room(x.dims()[1]))],
            padding: [0, before, 0, after],
            dilation: [1, self.dilation],
            groups: self.groups,
        }
    }

    /// By how much the kernel can move along `length` elements, if it fits.
    fn room(&self, length: usize) -> Option<usize> {
        conv2d::room(length, self.padding, self.kernel, self.dilation)
    }
}

/// Channels and length of a sequence of vectors, one a channel.
pub(super) fn sequence(x: &Shape) -> Result<[usize; 2], String> {
    match *x.dims() {
        [channels, length] => Ok([channels, length]),
        _ => Err(format!("needs a sequence [channels, length], got {x}")),
    }
}

impl Op for Conv1d {
    fn name(&self) -> &'static str {
        "conv1d"
    }

    fn variant(&self) -> String {
        conv2d::variant(&self.kernel.to_string(), self.stride, self.dilation, self.groups, self.filters)
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let [channels, length] = sequence(x[0])?;
        let Conv1d { filters, kernel, groups, .. } = *self;
        if [filters, kernel, self.stride, self.dilation, groups].contains(&0) {
            return Err(format!("filters, kernel, stride, dilation and groups start at 1: {self:?}"));
        }
        if !channels.is_multiple_of(groups) || !filters.is_multiple_of(groups) {
            return Err(format!("{channels} channels and {filters} filters do not both divide into {groups} groups"));
        }
        if self.room(length).is_none() {
            let Conv1d { dilation, padding, .. } = self;
            return Err(format!(
                "a kernel of {kernel} with dilation {dilation} does not fit a length of {length} padded by {padding:?}"
            ));
        }
        Ok(x[0].with(&[filters, self.geometry(x[0], 1).output()[1]]))
    }

    fn madds(&self, x: &[&Shape], _: &Shape) -> u64 {
        self.geometry(x[0], 1).multiply_adds()
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[0, 1])
    }

    fn scratch(&self, x: &[&Shape], _: &Shape, batch: usize) -> usize {
        conv2d::scratch(x[0], batch, |batch| self.geometry(x[0], batch))
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        conv2d::forward(&self.geometry(&at.shapes[0], at.batch), at);
    }

    fn backward(&self, at: Backward<'_>) {
        conv2d::backward(&self.geometry(&at.shapes[0], at.batch), at);
    }
}

impl<'g> Var<'g> {
    /// A convolution over the length of a value [channels, length]; its weight is `conv1d.weight`,
    /// [filters, channels / groups, kernel], and its bias, if it has one, `conv1d.bias`.
    pub fn conv1d(self, conv: Conv1d) -> Var<'g> {
        self.scope("conv1d", |x| {
            let channels = x.dim(0) / conv.groups.max(1);
            let init = Init::he(channels.saturating_mul(conv.kernel));
            let weight = x.parameter("weight", &[conv.filters, channels, conv.kernel], init);
            if conv.bias {
                return x.apply(conv, &[weight, x.parameter("bias", &[conv.filters], Init::ZEROS)]);
            }
            x.apply(conv, &[weight])
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[3, 7]], |v| v[0].conv1d(Conv1d::new(2, 3)));
        gradcheck(&[&[2, 9]], |v| v[0].conv1d(Conv1d::new(3, 5).stride(2).bias(true)));
        gradcheck(&[&[4, 6]], |v| v[0].conv1d(Conv1d::new(4, 3).groups(4)));
        gradcheck(&[&[4, 20]], |v| v[0].conv1d(Conv1d::new(6, 3).groups(2).dilation(4).padding([8, 0]).bias(true)));
        gradcheck(&[&[3, 5]], |v| v[0].conv1d(Conv1d::new(2, 1)));
    }

    #[test]
    fn gradients_that_add_up() {
        gradcheck(&[&[2, 6]], |v| v[0].scale(0.5) + v[0].conv1d(Conv1d::new(2, 3).bias(true)));
        let layer = Conv1d::new(2, 3).bias(true);
        gradcheck(&[&[2, 6]], |v| v[0].shared("both", |x| x.conv1d(layer)).shared("both", |x| x.conv1d(layer)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(
            groups in 1_usize..3, channels in 1_usize..3, filters in 1_usize..3, length in 3_usize..20,
            kernel in 1_usize..5, stride in 1_usize..4, dilation in 1_usize..3,
            before in 0_usize..4, after in 0_usize..4, bias: bool,
        ) {
            let conv = Conv1d::new(groups * filters, kernel).stride(stride).groups(groups);
            let conv = conv.dilation(dilation).padding([before, after]).bias(bias);
            prop_assume!(conv.room(length).is_some());
            gradcheck(&[&[groups * channels, length]], |v| v[0].conv1d(conv));
        }
    }

    /// The definition in f64: not flipped.
    fn formula(conv: Conv1d, [channels, length]: [usize; 2], x: &[f32], w: &[f32], bias: &[f32]) -> Vec<f32> {
        let (depth, filters) = (channels / conv.groups, conv.filters / conv.groups);
        let out =
            (length + conv.padding[0] + conv.padding[1] - conv.dilation * (conv.kernel - 1) - 1) / conv.stride + 1;
        let mut y = Vec::new();
        for (f, o) in (0..conv.filters).flat_map(|f| (0..out).map(move |o| (f, o))) {
            let mut sum = f64::from(bias[f]);
            for (c, k) in (0..depth).flat_map(|c| (0..conv.kernel).map(move |k| (c, k))) {
                let at = (o * conv.stride + k * conv.dilation).wrapping_sub(conv.padding[0]);
                if at < length {
                    let x = x[(f / filters * depth + c) * length + at];
                    sum += f64::from(x) * f64::from(w[(f * depth + c) * conv.kernel + k]);
                }
            }
            y.push(sum as f32);
        }
        y
    }

    #[test]
    fn values_by_formula() {
        let convs = [
            (Conv1d::new(4, 3).bias(true), [2, 11]),
            (Conv1d::new(4, 4).padding([3, 0]).bias(true), [6, 40]),
            (Conv1d::new(6, 3).groups(3).stride(2).dilation(3).padding([1, 2]).bias(true), [3, 33]),
        ];
        for (conv, dims) in convs {
            let graph = Graph::new();
            let y = graph.input("x", &dims).conv1d(conv);
            let mut params = Params::init(&graph, &mut Rng::seed_from_u64(3));
            let mut rng = Rng::seed_from_u64(5);
            let mut x = vec![0.0; 2 * dims[0] * dims[1]];
            Init::Normal { std: 1.0 }.fill(&mut x, &mut rng);
            Init::Normal { std: 1.0 }.fill(params.get_mut("conv1d.bias").unwrap(), &mut rng);
            let mut program = Program::eval(&graph, &[y], 2).unwrap();
            program.run(&Feed::new(2).with("x", &x), &params).unwrap();
            let [w, bias] = ["weight", "bias"].map(|name| params.get(&format!("conv1d.{name}")).unwrap().values);
            let examples = x.chunks_exact(dims[0] * dims[1]);
            let expected: Vec<f32> = examples.flat_map(|x| formula(conv, dims, x, w, bias)).collect();
            approx::assert_abs_diff_eq!(program.output(0), &expected[..], epsilon = 1e-5);
        }
    }

    #[test]
    fn paths_and_multiply_adds() {
        let graph = Graph::new();
        let _ = graph.input("x", &[4, 8]).conv1d(Conv1d::new(6, 3).stride(2).groups(2).bias(true));
        let found: Vec<_> = graph.parameters().into_iter().map(|p| (p.path, p.dims)).collect();
        let expected = [("conv1d.weight".to_owned(), vec![6, 2, 3]), ("conv1d.bias".to_owned(), vec![6])];
        assert_eq!(found, expected);
        assert_eq!(graph.cost().madds, 4 * 6 * 2 * 3);
    }

    #[test]
    fn mistakes_name_the_numbers() {
        let says = |dims: &[usize], conv: Conv1d| {
            let graph = Graph::new();
            graph.input("x", dims).conv1d(conv);
            graph.check().unwrap_err().to_string()
        };
        let text = says(&[3, 8], Conv1d::new(4, 3).groups(2));
        assert_eq!(text, "conv1d: 3 channels and 4 filters do not both divide into 2 groups");
        let text = says(&[3, 4], Conv1d::new(4, 3).dilation(2).padding([0, 0]));
        assert_eq!(text, "conv1d: a kernel of 3 with dilation 2 does not fit a length of 4 padded by [0, 0]");
        let text = says(&[3, 2, 8], Conv1d::new(4, 3));
        assert_eq!(text, "conv1d: needs a sequence [channels, length], got [N, 3, 2, 8]");
        assert!(says(&[3, 8], Conv1d::new(0, 3)).contains("start at 1"));
        assert!(says(&[3, 8], Conv1d::new(4, 3).dilation(usize::MAX)).contains("does not fit"));
        assert!(says(&[3, 8], Conv1d::new(4, 3).padding([1 << 45, 0])).contains("padded by [35184372088832, 0]"));
    }
}
