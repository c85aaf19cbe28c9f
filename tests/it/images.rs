//! Small data sets in IDX form, written by the tests.

use std::path::{Path, PathBuf};

/// A set of square images in which each class has a bright stripe of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stripes {
    pub(crate) side: usize,
    pub(crate) classes: usize,
    pub(crate) train: usize,
    pub(crate) test: usize,
}

impl Default for Stripes {
    fn default() -> Self {
        Stripes { side: 8, classes: 3, train: 60, test: 30 }
    }
}

impl Stripes {
    /// The folder `images` in `parent`, with the four files.
    pub(crate) fn write(self, parent: &Path) -> PathBuf {
        let folder = parent.join("images");
        std::fs::create_dir(&folder).unwrap();
        for (name, n) in [("train", self.train), ("t10k", self.test)] {
            std::fs::write(folder.join(format!("{name}-images-idx3-ubyte")), self.images(n)).unwrap();
            std::fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), self.labels(n)).unwrap();
        }
        folder
    }

    pub(crate) fn images(self, n: usize) -> Vec<u8> {
        let mut bytes = header(&[n, self.side, self.side]);
        let mut noise = 12345_u32;
        for i in 0..n {
            let stripe = (i % self.classes) * self.side / self.classes;
            for y in 0..self.side {
                for _ in 0..self.side {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let base = if y == stripe { 150 } else { 0 };
                    bytes.push(base + (noise >> 24) as u8 % 100);
                }
            }
        }
        bytes
    }

    pub(crate) fn labels(self, n: usize) -> Vec<u8> {
        let mut bytes = header(&[n]);
        bytes.extend((0..n).map(|i| u8::try_from(i % self.classes).unwrap()));
        bytes
    }
}

/// The head of an IDX file of bytes.
pub(crate) fn header(dims: &[usize]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, u8::try_from(dims.len()).unwrap()];
    for &dim in dims {
        bytes.extend(u32::try_from(dim).unwrap().to_be_bytes());
    }
    bytes
}
