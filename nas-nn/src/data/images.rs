//! Labelled images in memory.

use serde::{Deserialize, Serialize};

/// Labelled images of one size, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// Pixels.
    pub height: usize,
    /// Pixels.
    pub width: usize,
    /// The number of classes.
    pub classes: usize,
    /// The names of the classes.
    pub class_names: Vec<String>,
    /// All pixels: image, channel, row, column.
    pub pixels: Vec<u8>,
    /// The class of every image, below `classes`.
    pub labels: Vec<u32>,
}

impl Images {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes of one image.
    pub fn pixels_per_image(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// The bytes of image `i`.
    pub fn image(&self, i: usize) -> &[u8] {
        &self.pixels[i * self.pixels_per_image()..][..self.pixels_per_image()]
    }

    /// `channels×height×width`.
    pub fn size(&self) -> String {
        format!("{}×{}×{}", self.channels, self.height, self.width)
    }

    /// The images with these numbers, in this order.
    #[must_use]
    pub fn subset(&self, indices: &[usize]) -> Images {
        Images {
            pixels: indices.iter().flat_map(|&i| self.image(i)).copied().collect(),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
            class_names: self.class_names.clone(),
            ..*self
        }
    }

    /// The images of every class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        for &label in &self.labels {
            counts[label as usize] += 1;
        }
        counts
    }

    /// Writes the images with these numbers, normalised, into `images` (one after the other) and their classes into `labels`.
    ///
    /// # Panics
    /// When a slice is too short for all these images or a number too large.
    pub fn fill(&self, indices: &[usize], normalize: &Normalize, images: &mut [f32], labels: &mut [f32]) {
        let n = indices.len();
        assert!(
            images.len() >= n * self.pixels_per_image() && labels.len() >= n,
            "{n} images do not fit into {} pixels and {} labels",
            images.len(),
            labels.len()
        );
        let plane = self.height * self.width;
        for ((&i, image), label) in indices.iter().zip(images.chunks_exact_mut(self.pixels_per_image())).zip(labels) {
            for (c, (bytes, floats)) in self.image(i).chunks_exact(plane).zip(image.chunks_exact_mut(plane)).enumerate()
            {
                let (scale, shift) = normalize.scale_shift(c);
                for (x, &byte) in floats.iter_mut().zip(bytes) {
                    *x = f32::from(byte) * scale + shift;
                }
            }
            *label = self.labels[i] as f32;
        }
    }
}

/// Mean and standard deviation of the pixels of every channel, of pixels from 0 to 1; fitted on training images alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Normalize {
    /// Means.
    pub mean: Vec<f32>,
    /// Standard deviations, above zero.
    pub std: Vec<f32>,
}

impl Normalize {
    /// Of the pixels of `images`.
    pub fn fit(images: &Images) -> Self {
        let plane = images.height * images.width;
        let mut histograms = vec![[0_u64; 256]; images.channels];
        for (i, channel) in images.pixels.chunks_exact(plane.max(1)).enumerate() {
            for &byte in channel {
                histograms[i % images.channels][usize::from(byte)] += 1;
            }
        }
        let moments = histograms.iter().map(|histogram| {
            let n = histogram.iter().sum::<u64>().max(1) as f64;
            let values = || histogram.iter().enumerate().map(|(byte, &count)| (byte as f64 / 255.0, count as f64));
            let mean = values().map(|(x, count)| x * count).sum::<f64>() / n;
            let variance = values().map(|(x, count)| (x - mean).powi(2) * count).sum::<f64>() / n;
            // Images of one colour: leave the scale alone instead of dividing by nothing.
            let std = if variance > 1e-8 { variance.sqrt() } else { 1.0 };
            (mean as f32, std as f32)
        });
        let (mean, std) = moments.unzip();
        Normalize { mean, std }
    }

    /// What a byte of channel `c` is multiplied by, and what is added then.
    fn scale_shift(&self, c: usize) -> (f32, f32) {
        (1.0 / (255.0 * self.std[c]), -self.mean[c] / self.std[c])
    }

    /// The normalised value of a black pixel of channel `c`.
    pub fn black(&self, c: usize) -> f32 {
        self.scale_shift(c).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> Images {
        Images {
            channels: 2,
            height: 1,
            width: 2,
            classes: 2,
            class_names: vec!["a".to_owned(), "b".to_owned()],
            pixels: vec![0, 255, 10, 10, 255, 0, 10, 10],
            labels: vec![0, 1],
        }
    }

    #[test]
    fn normalised_by_hand() {
        let images = images();
        let normalize = Normalize::fit(&images);
        assert_eq!(normalize.mean[0], 0.5);
        assert_eq!(normalize.std, [0.5, 1.0]);
        let (mut x, mut y) = (vec![0.0; 4], vec![0.0]);
        images.fill(&[1], &normalize, &mut x, &mut y);
        assert_eq!((x[0], x[1], y[0]), (1.0, -1.0, 1.0));
        assert!(x[2].abs() < 1e-6);
        assert_eq!(normalize.black(0), -1.0);
    }

    #[test]
    #[should_panic(expected = "2 images do not fit into 7 pixels and 2 labels")]
    fn pixels_without_room_are_not_left_out() {
        let images = images();
        images.fill(&[0, 1], &Normalize::fit(&images), &mut [0.0; 7], &mut [0.0; 2]);
    }

    #[test]
    #[should_panic(expected = "2 images do not fit into 8 pixels and 1 labels")]
    fn labels_without_room_are_not_left_out() {
        let images = images();
        images.fill(&[0, 1], &Normalize::fit(&images), &mut [0.0; 8], &mut [0.0; 1]);
    }

    #[test]
    fn an_epoch_has_every_image_once() {
        use nas_core::{Purpose, Seed};
        let images = super::super::Dataset::Images(images().subset(&[0, 1].repeat(50)));
        let order = |epoch| images.shuffled(&mut Seed::new(3).stream(Purpose::Shuffle, epoch));
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let mut all = order(1);
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn subsets_keep_their_labels() {
        let images = images();
        let turned = images.subset(&[1, 0, 1]);
        assert_eq!(turned.labels, [1, 0, 1]);
        assert_eq!(turned.image(0), images.image(1));
        assert_eq!(turned.class_counts(), [1, 2]);
    }
}
