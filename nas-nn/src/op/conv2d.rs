//! 2-D convolution: stride, padding, dilation, groups; depthwise when there are as many groups as channels.

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{LARGEST, Shape, Var};
use crate::init::Init;
use crate::kernel;

/// The settings of a convolution; [`Var::conv`] applies it.
///
/// ```
/// use nas_nn::{Graph, op::Conv2d};
///
/// let graph = Graph::new();
/// let x = graph.input("image", &[4, 15, 15]);
/// let y = x.conv(Conv2d::new(8, 3).stride(2).groups(4));
/// assert_eq!(y.shape().to_string(), "[N, 8, 8, 8]");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2d {
    filters: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
    dilation: [usize; 2],
    groups: usize,
    bias: bool,
}

impl Conv2d {
    /// `filters` filters of `kernel`×`kernel`, stride 1, padded by half the kernel, no bias.
    pub fn new(filters: usize, kernel: usize) -> Self {
        Conv2d {
            filters,
            kernel: [kernel; 2],
            stride: [1; 2],
            padding: [kernel / 2; 4],
            dilation: [1; 2],
            groups: 1,
            bias: false,
        }
    }

    /// A kernel of another height and width; the padding becomes half of each.
    #[must_use]
    pub fn kernel(self, height: usize, width: usize) -> Self {
        let padding = [height / 2, width / 2, height / 2, width / 2];
        Conv2d { kernel: [height, width], padding, ..self }
    }

    /// Steps of the kernel in both directions.
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Conv2d { stride: [stride; 2], ..self }
    }

    /// Zeros around the input: top, left, bottom, right.
    #[must_use]
    pub fn padding(self, padding: [usize; 4]) -> Self {
        Conv2d { padding, ..self }
    }

    /// Distance of the kernel's elements; the padding keeps the size at stride 1.
    #[must_use]
    pub fn dilation(self, dilation: usize) -> Self {
        let [height, width] = self.kernel.map(|k| dilation.saturating_mul(k / 2));
        Conv2d { dilation: [dilation; 2], padding: [height, width, height, width], ..self }
    }

    /// Groups of channels that see only each other.
    #[must_use]
    pub fn groups(self, groups: usize) -> Self {
        Conv2d { groups, ..self }
    }

    /// Whether a number is added to every filter's output.
    #[must_use]
    pub fn bias(self, bias: bool) -> Self {
        Conv2d { bias, ..self }
    }

    /// By how much the kernel can move down and across `height`×`width` pixels, if it fits.
    fn room(&self, height: usize, width: usize) -> [Option<usize>; 2] {
        let [top, left, bottom, right] = self.padding;
        let axes = [(height, [top, bottom]), (width, [left, right])];
        [0, 1].map(|i| room(axes[i].0, axes[i].1, self.kernel[i], self.dilation[i]))
    }

    fn geometry(&self, x: &Shape, batch: usize) -> kernel::Conv2d {
        let dims = x.dims();
        let room = self.room(dims[1], dims[2]);
        kernel::Conv2d {
            batch: x.copies(batch),
            channels: dims[0],
            height: dims[1],
            width: dims[2],
            filters: self.filters,
            kernel: self.kernel,
            stride: [0, 1].map(|i| short(self.stride[i], room[i])),
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
        }
    }
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn variant(&self) -> String {
        let [height, width] = self.kernel;
        variant(&format!("{height}x{width}"), self.stride[0], self.dilation[0], self.groups, self.filters)
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        let [channels, height, width] = x[0].image()?;
        let numbers = [self.filters, self.kernel[0], self.kernel[1], self.stride[0], self.dilation[0], self.groups];
        if numbers.contains(&0) {
            return Err(format!("filters, kernel, stride, dilation and groups start at 1: {self:?}"));
        }
        if !channels.is_multiple_of(self.groups) || !self.filters.is_multiple_of(self.groups) {
            let Conv2d { groups, filters, .. } = self;
            return Err(format!("{channels} channels and {filters} filters do not both divide into {groups} groups"));
        }
        if self.room(height, width).contains(&None) {
            let Conv2d { kernel, dilation, padding, .. } = self;
            return Err(format!(
                "a kernel of {kernel:?} with dilation {dilation:?} does not fit {height}×{width} pixels padded by {padding:?}"
            ));
        }
        let [h, w] = self.geometry(x[0], 1).output();
        Ok(x[0].with(&[self.filters, h, w]))
    }

    fn madds(&self, x: &[&Shape], _: &Shape) -> u64 {
        self.geometry(x[0], 1).multiply_adds()
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[0, 1])
    }

    fn scratch(&self, x: &[&Shape], _: &Shape, batch: usize) -> usize {
        scratch(x[0], batch, |batch| self.geometry(x[0], batch))
    }

    fn by_example(&self) -> bool {
        true
    }

    fn forward(&self, at: Forward<'_>) {
        forward(&self.geometry(&at.shapes[0], at.batch), at);
    }

    fn backward(&self, at: Backward<'_>) {
        backward(&self.geometry(&at.shapes[0], at.batch), at);
    }
}

/// By how many elements a window of `kernel` elements, `dilation` apart, can move along `size` elements that are padded before
/// and after; nothing when it does not fit, or when there are too many elements to count with.
pub(super) fn room(size: usize, padding: [usize; 2], kernel: usize, dilation: usize) -> Option<usize> {
    let padded = padding.iter().try_fold(size, |n, &p| n.checked_add(p)).filter(|&n| n <= LARGEST)?;
    let reach = dilation.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
    padded.checked_sub(reach)
}

/// The shortest stride that takes a window to the same places: one step out of the `room` is as good as any further.
pub(super) fn short(stride: usize, room: Option<usize>) -> usize {
    room.map_or(stride, |room| stride.min(room + 1))
}

/// Working memory of a convolution whose geometry depends on the batch.
pub(super) fn scratch(x: &Shape, batch: usize, geometry: impl Fn(usize) -> kernel::Conv2d) -> usize {
    // A smaller batch may be cut differently and need more.
    let batches = if x.is_batched() { 1..=batch } else { 1..=1 };
    batches.map(|batch| kernel::conv2d_scratch(&geometry(batch))).max().unwrap_or(0)
}

/// y = w ⋆ x, and the bias if it is an input.
pub(super) fn forward(geometry: &kernel::Conv2d, at: Forward<'_>) {
    let Forward { inputs, output, scratch, .. } = at;
    kernel::conv2d_forward(geometry, inputs[0], inputs[1], output, scratch);
    if let Some(bias) = inputs.get(2) {
        kernel::add_to_channels(&filters(geometry), bias, output);
    }
}

/// dy/dx = wᵀ ⋆ dy, dy/dw = x ⋆ dy, dy/db = Σ dy.
pub(super) fn backward(geometry: &kernel::Conv2d, mut at: Backward<'_>) {
    if let Some(dw) = at.grad_input(1) {
        let (dw, add) = dw.parts();
        kernel::conv2d_backward_weight(geometry, at.input(0), at.grad, dw, add, at.scratch);
    }
    if let Some(dx) = at.grad_input(0) {
        let (dx, add) = dx.parts();
        kernel::conv2d_backward_input(geometry, at.input(1), at.grad, dx, add, at.scratch);
    }
    if at.shapes.len() > 2
        && let Some(db) = at.grad_input(2)
    {
        let (db, add) = db.parts();
        kernel::channel_sums(&filters(geometry), at.grad, db, add);
    }
}

/// The output's planes.
fn filters(geometry: &kernel::Conv2d) -> kernel::Channels {
    kernel::Channels { batch: geometry.batch, channels: geometry.filters, inner: geometry.output().iter().product() }
}

/// The settings of a convolution that choose its loops: `3x3`, `5x5 /2 depthwise`.
pub(super) fn variant(kernel: &str, stride: usize, dilation: usize, groups: usize, filters: usize) -> String {
    let by = |mark: &str, n: usize| if n == 1 { String::new() } else { format!(" {mark}{n}") };
    let groups = match groups {
        1 => "",
        n if n == filters => " depthwise",
        _ => " grouped",
    };
    format!("{kernel}{}{}{groups}", by("/", stride), by("dilation ", dilation))
}

impl<'g> Var<'g> {
    /// A convolution of an image value; its weight is `conv2d.weight`, [filters, channels / groups, height, width].
    pub fn conv(self, conv: Conv2d) -> Var<'g> {
        self.scope("conv2d", |x| {
            let channels = x.dim(0) / conv.groups.max(1);
            let dims = [conv.filters, channels, conv.kernel[0], conv.kernel[1]];
            let fan_in = dims[1..].iter().fold(1_usize, |n, &size| n.saturating_mul(size));
            let weight = x.parameter("weight", &dims, Init::he(fan_in));
            if conv.bias {
                return x.apply(conv, &[weight, x.parameter("bias", &[conv.filters], Init::ZEROS)]);
            }
            x.apply(conv, &[weight])
        })
    }

    /// A convolution with stride 1 that keeps the image's size, without bias.
    pub fn conv2d(self, filters: usize, kernel: usize) -> Var<'g> {
        self.conv(Conv2d::new(filters, kernel))
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
        gradcheck(&[&[3, 5, 4]], |v| v[0].conv2d(2, 3));
        gradcheck(&[&[2, 5, 5]], |v| v[0].conv(Conv2d::new(3, 3).stride(2).bias(true)));
        gradcheck(&[&[4, 6, 6]], |v| v[0].conv(Conv2d::new(4, 3).groups(4)));
        gradcheck(&[&[4, 5, 5]], |v| v[0].conv(Conv2d::new(6, 3).groups(2).dilation(2)));
        gradcheck(&[&[2, 4, 7]], |v| v[0].conv(Conv2d::new(3, 1).kernel(1, 5).padding([0, 1, 1, 2])));
        gradcheck(&[&[2, 7, 6]], |v| v[0].conv(Conv2d::new(2, 5).stride(2).bias(true)));
    }

    #[test]
    fn variants() {
        let variant = |conv: Conv2d| conv.variant();
        assert_eq!(variant(Conv2d::new(8, 3)), "3x3");
        assert_eq!(variant(Conv2d::new(8, 5).stride(2).groups(8)), "5x5 /2 depthwise");
        assert_eq!(variant(Conv2d::new(8, 1).kernel(1, 7).groups(2).dilation(2)), "1x7 dilation 2 grouped");
    }

    #[test]
    fn gradients_that_add_up() {
        gradcheck(&[&[2, 4, 4]], |v| v[0].scale(0.5) + v[0].conv2d(2, 3));
        gradcheck(&[&[2, 4, 4]], |v| v[0].shared("both", |x| x.conv2d(2, 3)).shared("both", |x| x.conv2d(2, 3)));
    }

    /// Not flipped, padded at the top and on the left only.
    #[test]
    fn values_by_hand() {
        let graph = Graph::new();
        let y = graph.input("x", &[1, 2, 2]).conv(Conv2d::new(1, 2).padding([1, 1, 0, 0]).bias(true));
        let mut params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        params.set("conv2d.weight", &[1, 1, 2, 2], &[1.0, 10.0, 100.0, 1000.0]).unwrap();
        params.set("conv2d.bias", &[1], &[0.5]).unwrap();
        let mut program = Program::eval(&graph, &[y], 1).unwrap();
        program.run(&Feed::new(1).with("x", &[1.0, 2.0, 3.0, 4.0]), &params).unwrap();
        assert_eq!(program.output(0), [1000.5, 2100.5, 3010.5, 4321.5]);
    }

    #[test]
    fn paths_and_multiply_adds() {
        let graph = Graph::new();
        let x = graph.input("x", &[4, 8, 8]);
        let _ = x.scope("stem", |x| x.conv(Conv2d::new(6, 3).stride(2).groups(2).bias(true)).conv2d(3, 1));
        let found: Vec<_> = graph.parameters().into_iter().map(|p| (p.path, p.dims)).collect();
        let expected: [(&str, &[usize]); 3] = [
            ("stem.conv2d.weight", &[6, 2, 3, 3]),
            ("stem.conv2d.bias", &[6]),
            ("stem.conv2d_2.weight", &[3, 6, 1, 1]),
        ];
        assert_eq!(found, expected.map(|(path, dims)| (path.to_owned(), dims.to_vec())));
        assert_eq!(graph.cost().madds, 16 * 6 * 2 * 9 + 16 * 3 * 6);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(
            groups in 1_usize..3, channels in 1_usize..3, filters in 1_usize..3,
            height in 3_usize..8, width in 3_usize..8, kernel in 1_usize..6, stride in 1_usize..3,
            dilation in 1_usize..3, bias: bool,
        ) {
            let conv = Conv2d::new(groups * filters, kernel).stride(stride).groups(groups);
            let conv = conv.dilation(dilation).bias(bias);
            gradcheck(&[&[groups * channels, height, width]], |v| v[0].conv(conv));
        }
    }

    #[test]
    fn mistakes_name_the_numbers() {
        let says = |dims: &[usize], conv: Conv2d| {
            let graph = Graph::new();
            graph.input("x", dims).conv(conv);
            graph.check().unwrap_err().to_string()
        };
        let text = says(&[3, 8, 8], Conv2d::new(4, 3).groups(2));
        assert_eq!(text, "conv2d: 3 channels and 4 filters do not both divide into 2 groups");
        let text = says(&[3, 2, 8], Conv2d::new(4, 5).padding([0; 4]));
        assert_eq!(
            text,
            "conv2d: a kernel of [5, 5] with dilation [1, 1] does not fit 2×8 pixels padded by [0, 0, 0, 0]"
        );
        assert!(says(&[3, 2, 8], Conv2d::new(0, 3)).contains("start at 1"));
    }
}
