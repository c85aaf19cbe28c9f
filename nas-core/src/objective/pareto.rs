//! Several goals at once: the Pareto front and the hypervolume it dominates.

use super::Direction;

/// Whether `a` is at least as good as `b` in every goal and better in one. What is no number is neither.
///
/// # Panics
/// When the lengths differ.
pub fn dominates(a: &[f64], b: &[f64], directions: &[Direction]) -> bool {
    assert!(a.len() == directions.len() && b.len() == directions.len(), "a point has a value for every goal");
    let mut pairs = a.iter().zip(b).zip(directions).map(|((a, b), d)| (d.signed(*a), d.signed(*b)));
    let as_good = pairs.clone().all(|(a, b)| a >= b);
    as_good && pairs.any(|(a, b)| a > b)
}

/// The points that no other point [dominates](dominates), by their places, in order. Points that are the same are all among them, points
/// with a value that is no number never.
///
/// ```
/// use nas_core::Direction::{Maximize, Minimize};
/// use nas_core::objective::pareto_front;
///
/// let accuracy_and_size = [vec![0.9, 50e3], vec![0.8, 10e3], vec![0.85, 60e3]];
/// assert_eq!(pareto_front(&accuracy_and_size, &[Maximize, Minimize]), [0, 1]);
/// ```
///
/// # Panics
/// When a point has not a value for every goal.
pub fn pareto_front(points: &[Vec<f64>], directions: &[Direction]) -> Vec<usize> {
    let usable = |point: &[f64]| point.iter().all(|x| !x.is_nan());
    let best =
        |i: &usize| usable(&points[*i]) && !points.iter().any(|p| usable(p) && dominates(p, &points[*i], directions));
    (0..points.len()).filter(best).collect()
}

/// The volume of all that some point dominates and that is better than `reference` in every goal (Zitzler & Thiele, 1998), exactly; its
/// unit is the product of the goals' units. Points that are not better than the reference in every goal add nothing.
///
/// By slices along the last goal, and so on: n² log n comparisons for three goals and n points on the front.
///
/// # Panics
/// When a point or the reference has not a value for every goal.
pub fn hypervolume(points: &[Vec<f64>], directions: &[Direction], reference: &[f64]) -> f64 {
    assert_eq!(reference.len(), directions.len(), "the reference has a value for every goal");
    let boxes = points.iter().map(|point| {
        assert_eq!(point.len(), directions.len(), "a point has a value for every goal");
        let sides = point.iter().zip(reference).zip(directions);
        sides.map(|((x, r), d)| d.signed(*x) - d.signed(*r)).collect::<Vec<f64>>()
    });
    let boxes: Vec<Vec<f64>> = boxes.filter(|sides| sides.iter().all(|&side| side > 0.0)).collect();
    // A box inside another one adds nothing, and most are.
    let front = pareto_front(&boxes, &vec![Direction::Maximize; directions.len()]);
    volume(front.into_iter().map(|i| boxes[i].clone()).collect(), directions.len())
}

/// The volume of the union of boxes that have one corner at zero and the other at these points, in the first `goals` axes.
fn volume(mut boxes: Vec<Vec<f64>>, goals: usize) -> f64 {
    let Some(last) = goals.checked_sub(1) else { return 0.0 };
    if last == 0 {
        return boxes.iter().map(|sides| sides[0]).fold(0.0, f64::max);
    }
    boxes.sort_by(|a, b| b[last].total_cmp(&a[last]));
    if last == 1 {
        // A staircase: every box adds what is wider than those that are higher.
        let (mut area, mut width) = (0.0, 0.0_f64);
        for sides in &boxes {
            area += (sides[0] - width).max(0.0) * sides[1];
            width = width.max(sides[0]);
        }
        return area;
    }
    // Between two heights, the slice is that of all boxes that reach the upper one.
    let heights: Vec<f64> = boxes.iter().map(|sides| sides[last]).collect();
    let below = heights.iter().skip(1).copied().chain([0.0]);
    let slices = heights.iter().zip(below).enumerate().filter(|(_, (top, bottom))| *top > bottom);
    slices.map(|(i, (top, bottom))| (top - bottom) * volume(boxes[..=i].to_vec(), last)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Points on a small grid, with goals of any direction.
    fn cases() -> impl Strategy<Value = (Vec<Vec<f64>>, Vec<Direction>)> {
        let direction = prop_oneof![Just(Direction::Maximize), Just(Direction::Minimize)];
        (1..=4_usize).prop_flat_map(move |goals| {
            let point = prop::collection::vec((0..=5_u8).prop_map(f64::from), goals);
            (prop::collection::vec(point, 0..9), prop::collection::vec(direction.clone(), goals))
        })
    }

    /// The number of unit cells of the grid that some point dominates.
    fn cells(points: &[Vec<f64>], directions: &[Direction], reference: &[f64]) -> f64 {
        let all = 5_usize.pow(directions.len() as u32);
        let is_covered = |cell: usize| {
            points.iter().any(|point| {
                (0..directions.len()).all(|axis| {
                    let at = (cell / 5_usize.pow(axis as u32) % 5) as f64 + 0.5;
                    let (x, r) = (point[axis], reference[axis]);
                    match directions[axis] {
                        Direction::Maximize => r < at && at < x,
                        Direction::Minimize => x < at && at < r,
                    }
                })
            })
        };
        (0..all).filter(|&cell| is_covered(cell)).count() as f64
    }

    proptest! {
        #[test]
        fn the_front_is_that_of_brute_force((points, directions) in cases()) {
            let front = pareto_front(&points, &directions);
            for (i, point) in points.iter().enumerate() {
                let beaten = points.iter().any(|other| {
                    let by: Vec<f64> = (0..point.len()).map(|k| match directions[k] {
                        Direction::Maximize => other[k] - point[k],
                        Direction::Minimize => point[k] - other[k],
                    }).collect();
                    by.iter().all(|d| *d >= 0.0) && by.iter().sum::<f64>() > 0.0
                });
                prop_assert_eq!(!beaten, front.contains(&i));
            }
        }

        #[test]
        fn the_hypervolume_counts_cells((points, directions) in cases(), at in 0..=1_u8) {
            let at = f64::from(at);
            let reference: Vec<f64> =
                directions.iter().map(|d| if *d == Direction::Maximize { at } else { 5.0 - at }).collect();
            let volume = hypervolume(&points, &directions, &reference);
            prop_assert!((volume - cells(&points, &directions, &reference)).abs() < 1e-9);
            // The front alone dominates as much.
            let front: Vec<Vec<f64>> =
                pareto_front(&points, &directions).into_iter().map(|i| points[i].clone()).collect();
            prop_assert_eq!(volume, hypervolume(&front, &directions, &reference));
        }
    }

    #[test]
    fn what_is_no_number_is_not_on_the_front() {
        let points = [vec![f64::NAN, 1.0], vec![0.5, 1.0], vec![0.5, 1.0]];
        assert_eq!(pareto_front(&points, &[Direction::Maximize; 2]), [1, 2]);
        assert_eq!(pareto_front(&[], &[Direction::Maximize]), [0_usize; 0]);
        assert_eq!(hypervolume(&points, &[Direction::Maximize; 2], &[0.0, 0.0]), 0.5);
    }
}
