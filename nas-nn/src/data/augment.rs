//! Augmentation: random changes of training images that keep their class.

use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use super::{Images, Normalize};
use crate::Rng;

/// Which changes are made. The default makes none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Moved by up to this many pixels in each direction; black comes in.
    pub shift: usize,
    /// Mirrored left to right, every second time.
    pub flip: bool,
    /// A square of this side is blackened at a random place (DeVries & Taylor, 2017).
    pub cutout: usize,
}

impl Augment {
    /// Changes `images`, normalised images of the size of those in `like`, in order, with draws from `rng`.
    pub fn apply(&self, images: &mut [f32], like: &Images, normalize: &Normalize, rng: &mut Rng) {
        if *self == Self::default() {
            return;
        }
        for image in images.chunks_exact_mut(like.pixels_per_image()) {
            self.change(image, [like.height, like.width], normalize, rng);
        }
    }

    fn change(&self, image: &mut [f32], [height, width]: [usize; 2], normalize: &Normalize, rng: &mut Rng) {
        // Always the same draws, so that one setting does not move the others.
        let mut offset = || {
            // A shift beyond the image is a shift by the image.
            let reach = self.shift.min(height.max(width)) as i64;
            rng.random_range(-reach..=reach) as isize
        };
        let (down, right) = (offset(), offset());
        let flip = rng.random::<bool>() && self.flip;
        let (y, x) = (rng.random_range(0..height), rng.random_range(0..width));
        let half = self.cutout / 2;
        let rows = y.saturating_sub(half)..(y + (self.cutout - half)).min(height);
        let columns = x.saturating_sub(half)..(x + (self.cutout - half)).min(width);
        for (c, plane) in image.chunks_exact_mut(height * width).enumerate() {
            let black = normalize.black(c);
            shift_rows(plane, width, down, black);
            for row in plane.chunks_exact_mut(width) {
                shift(row, right, black);
                if flip {
                    row.reverse();
                }
            }
            for row in plane.chunks_exact_mut(width).take(rows.end).skip(rows.start) {
                row[columns.clone()].fill(black);
            }
        }
    }
}

fn shift_rows(plane: &mut [f32], width: usize, by: isize, fill: f32) {
    let n = (by.unsigned_abs() * width).min(plane.len());
    shift(plane, if by < 0 { -(n as isize) } else { n as isize }, fill);
}

/// Moves `row` by `by` places, later ones if it is positive.
fn shift(row: &mut [f32], by: isize, fill: f32) {
    let len = row.len();
    let n = by.unsigned_abs().min(len);
    if by > 0 {
        row.copy_within(..len - n, n);
        row[..n].fill(fill);
    } else {
        row.copy_within(n.., 0);
        row[len - n..].fill(fill);
    }
}

#[cfg(test)]
mod tests {
    use nas_core::{Purpose, Seed};

    use super::*;

    fn setting() -> (Images, Normalize, Vec<f32>) {
        let images = Images {
            channels: 1,
            height: 4,
            width: 5,
            classes: 1,
            class_names: vec![String::new()],
            pixels: (1..=20).collect(),
            labels: vec![0],
        };
        let normalize = Normalize { mean: vec![0.0], std: vec![1.0 / 255.0] };
        let mut floats = vec![0.0; 20];
        images.fill(&[0], &normalize, &mut floats, &mut [0.0]);
        (images, normalize, floats)
    }

    /// What `augment` makes of the image in many draws.
    fn results(augment: Augment) -> Vec<Vec<f32>> {
        let (images, normalize, floats) = setting();
        let mut rng = Seed::new(1).stream(Purpose::Augment, 0);
        let one = |_| {
            let mut image = floats.clone();
            augment.apply(&mut image, &images, &normalize, &mut rng);
            image
        };
        (0..200).map(one).collect()
    }

    #[test]
    fn none_changes_nothing() {
        let (_, _, floats) = setting();
        assert!(results(Augment::default()).iter().all(|image| *image == floats));
    }

    #[test]
    fn a_flip_is_the_image_or_its_mirror() {
        let (_, _, floats) = setting();
        let mirror: Vec<f32> = floats.chunks(5).flat_map(|row| row.iter().rev()).copied().collect();
        let results = results(Augment { flip: true, ..Augment::default() });
        let same = results.iter().filter(|image| **image == floats).count();
        let turned = results.iter().filter(|image| **image == mirror).count();
        assert!(same + turned == 200 && (60..140).contains(&same), "{same} and {turned}");
    }

    #[test]
    fn shifts_move_pixels_and_fill_with_black() {
        let (_, _, floats) = setting();
        let mut seen = std::collections::BTreeSet::new();
        for image in results(Augment { shift: 1, ..Augment::default() }) {
            let pixel = |y: isize, x: isize| {
                if (0..4).contains(&y) && (0..5).contains(&x) { floats[(y * 5 + x) as usize] } else { 0.0 }
            };
            let found = (-1..=1)
                .flat_map(|dy| (-1..=1).map(move |dx| (dy, dx)))
                .find(|&(dy, dx)| (0..4).all(|y| (0..5).all(|x| image[(y * 5 + x) as usize] == pixel(y - dy, x - dx))));
            seen.insert(found.unwrap());
        }
        assert_eq!(seen.len(), 9, "every shift occurs");
        // A shift beyond the image leaves it black.
        assert!(
            results(Augment { shift: 50, ..Augment::default() }).iter().any(|image| image.iter().all(|&x| x == 0.0))
        );
    }

    #[test]
    fn cutout_blackens_a_square() {
        let (_, _, floats) = setting();
        for image in results(Augment { cutout: 2, ..Augment::default() }) {
            let black = image.iter().filter(|&&x| x == 0.0).count();
            assert!((1..=4).contains(&black), "{black}");
            assert!(image.iter().zip(&floats).all(|(a, b)| *a == 0.0 || a == b));
        }
        let all = results(Augment { cutout: usize::MAX, ..Augment::default() });
        assert!(all.iter().flatten().all(|&x| x == 0.0), "a square beyond the image blackens it");
    }

    #[test]
    fn two_flips_are_none() {
        let (images, normalize, floats) = setting();
        let flip = Augment { flip: true, ..Augment::default() };
        let mut turned = 0;
        for draw in 0..50 {
            let mut image = floats.clone();
            let mut apply = || {
                flip.apply(&mut image, &images, &normalize, &mut Seed::new(1).stream(Purpose::Augment, draw));
                image != floats
            };
            turned += usize::from(apply());
            assert!(!apply(), "the same draw twice");
        }
        assert!((10..40).contains(&turned), "{turned}");
    }

    #[test]
    fn an_epoch_does_not_depend_on_the_batches() {
        let (images, normalize, _) = setting();
        let images = images.subset(&[0; 12]);
        let epoch = |batch: usize| {
            let mut rng = Seed::new(1).stream(Purpose::Augment, 3);
            let (mut all, mut labels) = (Vec::new(), Vec::new());
            for indices in (0..12).collect::<Vec<_>>().chunks(batch) {
                let (mut x, mut y) = (vec![0.0; 20 * indices.len()], vec![9.0; indices.len()]);
                images.fill(indices, &normalize, &mut x, &mut y);
                let augment = Augment { shift: 2, flip: true, cutout: 2 };
                augment.apply(&mut x, &images, &normalize, &mut rng);
                all.extend(x);
                labels.extend(y);
            }
            (all, labels)
        };
        let (all, labels) = epoch(5);
        assert_eq!((&all, &labels), (&epoch(12).0, &epoch(12).1));
        assert_eq!(labels, [0.0; 12], "a label changed");
        // Nothing but the image's own pixels, 1 to 20, and black.
        assert!(all.iter().all(|x| (0.0..=20.1).contains(x)));
        assert!(all.chunks(20).any(|image| image != &all[..20]), "every image draws for itself");
    }
}
