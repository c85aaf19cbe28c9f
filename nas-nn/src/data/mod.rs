//! Data: readers, splits, batches, augmentation. One format a file.

mod augment;
mod dataset;
pub mod demo;
mod describe;
mod error;
mod idx;
mod images;
mod open;
mod split;
mod text;

pub use augment::Augment;
pub use dataset::{Dataset, Preparation};
pub use describe::{Report, describe};
pub use error::DataError;
pub use images::{Images, Normalize};
pub use open::{TrainTest, open, open_images, open_labelled};
pub use split::stratified;
pub use text::Text;
