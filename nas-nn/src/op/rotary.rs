//! Rotary positions: pairs of numbers turned by angles that grow with the position (Su et al., 2021).

use super::{Backward, Forward, Keeps, Op};
use crate::graph::{Shape, Var};
use crate::kernel;

/// Inputs: x [positions, heads, width] or [positions, width], and the cosines and sines [2, positions, width / 2].
#[derive(Debug)]
struct Rotary;

/// Positions, heads and width.
fn sizes(x: &Shape) -> Option<[usize; 3]> {
    match *x.dims() {
        [positions, width] => Some([positions, 1, width]),
        [positions, heads, width] => Some([positions, heads, width]),
        _ => None,
    }
    .filter(|&[positions, heads, width]| positions > 0 && heads > 0 && width > 0 && width % 2 == 0)
}

fn rotate(x: &Shape, table: &[f32], from: &[f32], to: &mut [f32], inverse: bool, add: bool) {
    let [positions, heads, width] = sizes(x).expect("the shape was checked");
    kernel::rotate(kernel::Rotary { positions, heads, half: width / 2 }, table, from, to, inverse, add);
}

impl Op for Rotary {
    fn name(&self) -> &'static str {
        "rotary"
    }

    fn shape(&self, x: &[&Shape]) -> Result<Shape, String> {
        Ok(x[0].clone())
    }

    fn madds(&self, _: &[&Shape], y: &Shape) -> u64 {
        2 * y.len() as u64
    }

    fn differentiates(&self, input: usize) -> bool {
        input == 0
    }

    fn keeps(&self) -> Keeps {
        Keeps::inputs(&[1])
    }

    fn by_example(&self) -> bool {
        true
    }

    /// (a, b) → (a cos θ − b sin θ, a sin θ + b cos θ).
    fn forward(&self, at: Forward<'_>) {
        rotate(at.shape, at.inputs[1], at.inputs[0], at.output, false, false);
    }

    /// The transpose of a rotation is the rotation back.
    fn backward(&self, mut at: Backward<'_>) {
        let Some(dx) = at.grad_input(0) else { return };
        let (dx, add) = dx.parts();
        rotate(at.shape, at.input(1), at.grad, dx, true, add);
    }
}

impl<'g> Var<'g> {
    /// This value [positions, heads, width] or [positions, width] with the numbers i and i + width/2 of every vector turned by
    /// the angle t · base^(−2i/width), t the position (Su et al., 2021): for queries and keys, whose products then depend on
    /// the distance only. The usual `base` is 10,000.
    pub fn rotary(self, base: f32) -> Var<'g> {
        if self.is_poisoned() {
            return self;
        }
        let shape = self.shape();
        let Some([positions, _, width]) = sizes(&shape) else {
            let message =
                format!("needs [positions, heads, width] or [positions, width] with an even width, got {shape}");
            return self.mistake("rotary", message);
        };
        if !(base >= 1.0 && base.is_finite()) {
            return self.mistake("rotary", format!("the base is {base}; it must be 1 or more and finite"));
        }
        let half = width / 2;
        let mut table = vec![0.0; 2 * positions * half];
        for t in 0..positions {
            for i in 0..half {
                let angle = t as f64 * f64::from(base).powf(-2.0 * i as f64 / width as f64);
                table[t * half + i] = angle.cos() as f32;
                table[(positions + t) * half + i] = angle.sin() as f32;
            }
        }
        let table = self.graph().constant(&[2, positions, half], &table);
        self.apply(Rotary, &[table])
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng as _;

    use crate::testing::gradcheck;
    use crate::{Feed, Graph, Params, Program, Rng};

    #[test]
    fn gradients() {
        gradcheck(&[&[3, 4]], |v| v[0].rotary(100.0));
        gradcheck(&[&[4, 2, 6]], |v| v[0].rotary(10_000.0));
        gradcheck(&[&[3, 2]], |v| v[0].rotary(2.0) + v[0].scale(0.5));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn random_gradients(positions in 1_usize..5, heads in 1_usize..4, half in 1_usize..5) {
            gradcheck(&[&[positions, heads, 2 * half]], |v| v[0].rotary(50.0));
        }
    }

    fn run(dims: &[usize], base: f32, batch: usize, x: &[f32]) -> Vec<f32> {
        let graph = Graph::new();
        let y = graph.input("x", dims).rotary(base);
        let params = Params::init(&graph, &mut Rng::seed_from_u64(0));
        let mut program = Program::eval(&graph, &[y], batch).unwrap();
        program.run(&Feed::new(batch).with("x", x), &params).unwrap();
        program.output(0).to_vec()
    }

    #[test]
    fn values_by_formula() {
        let x: Vec<f32> = (0..2 * 3 * 2 * 4).map(|i| ((i * 5) % 13) as f32 / 4.0 - 1.5).collect();
        let y = run(&[3, 2, 4], 100.0, 2, &x);
        for (v, (x, y)) in x.chunks(4).zip(y.chunks(4)).enumerate() {
            let t = (v / 2 % 3) as f64;
            for (i, angle) in [t, t * 0.1].into_iter().enumerate() {
                let (a, b) = (f64::from(x[i]), f64::from(x[i + 2]));
                assert_abs_diff_eq!(f64::from(y[i]), a * angle.cos() - b * angle.sin(), epsilon = 1e-6);
                assert_abs_diff_eq!(f64::from(y[i + 2]), a * angle.sin() + b * angle.cos(), epsilon = 1e-6);
            }
        }
    }

    #[test]
    fn products_depend_on_the_distance() {
        let (q, k) = ([0.3, -1.0, 0.7, 0.2], [1.1, 0.4, -0.6, 0.9]);
        let at = |v: [f32; 4]| run(&[6, 4], 10_000.0, 1, &v.repeat(6));
        let (q, k) = (at(q), at(k));
        let product = |i: usize, j: usize| (0..4).map(|d| q[4 * i + d] * k[4 * j + d]).sum::<f32>();
        for i in 0..4 {
            assert_abs_diff_eq!(product(i, i + 2), product(0, 2), epsilon = 1e-6);
        }
        assert!((product(0, 2) - product(0, 3)).abs() > 0.01);
    }

    #[test]
    fn mistakes_name_the_numbers() {
        let says = |dims: &[usize], base: f32| {
            let graph = Graph::new();
            graph.input("x", dims).rotary(base);
            graph.check().unwrap_err().to_string()
        };
        let needs = "rotary: needs [positions, heads, width] or [positions, width] with an even width";
        assert_eq!(says(&[4, 3], 1e4), format!("{needs}, got [N, 4, 3]"));
        assert_eq!(says(&[4], 1e4), format!("{needs}, got [N, 4]"));
        assert_eq!(says(&[4, 2], 0.0), "rotary: the base is 0; it must be 1 or more and finite");
    }
}
