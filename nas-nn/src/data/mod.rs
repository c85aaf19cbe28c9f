//! Data: readers, splits, batches, augmentation. One format a file.

mod augment;
mod columns;
mod csv;
mod dataset;
pub mod demo;
mod describe;
mod describe_series;
mod describe_table;
mod error;
mod idx;
mod images;
mod open;
mod ratings;
mod series;
mod split;
mod table;
mod text;
mod text_file;
mod ts;

pub use augment::Augment;
pub use columns::{Columns, Wanted, is_id};
pub use csv::{open_table, read_rows};
pub use dataset::{Dataset, Preparation};
pub use describe::{Report, describe};
pub use describe_series::SeriesReport;
pub use describe_table::TableReport;
pub use error::DataError;
pub use images::{Images, Normalize};
pub use open::{TrainTest, open, open_images, open_labelled};
pub use series::{Series, SeriesPreparation};
use split::shuffled;
pub use split::stratified;
pub use table::{Column, Kind, Scale, Schema, Table, TablePreparation, Values};
pub use text::Text;
pub use ts::read_series;
