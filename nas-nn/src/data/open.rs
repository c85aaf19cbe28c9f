//! Data sets on disk: what a path is, and its images.

use std::hash::Hasher as _;
use std::path::{Path, PathBuf};

use super::idx::Idx;
use super::{Columns, DataError, Dataset, Images, csv, text, text_file, ts};

/// A data set with its training and test parts.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainTest {
    /// Examples to train on.
    pub train: Dataset,
    /// Examples that nothing but the final scoring may see.
    pub test: Dataset,
    /// A hash of everything in both, the same everywhere.
    pub hash: u64,
    /// Where it came from, for people.
    pub source: String,
}

const PARTS: [[&str; 2]; 2] =
    [["train-images-idx3-ubyte", "train-labels-idx1-ubyte"], ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]];

/// The data set at `path`: a folder of four IDX files with the names of MNIST's, gzipped or not; a UTF-8 text, whose name ends in
/// `.txt`; a table, as [`open_table`](super::open_table) reads it; or time series in `.ts` form, a file or a folder with one that ends in
/// `_TRAIN.ts` and one in `_TEST.ts`.
///
/// # Errors
/// A file that is missing, damaged, or does not fit the others.
pub fn open(path: &Path) -> Result<TrainTest, DataError> {
    let io = |source| DataError::Io { path: path.to_owned(), source };
    if csv::is_table(path) {
        return csv::open_table(path, &Columns::default());
    }
    if ts::is_series(path) {
        return ts::open_series(path);
    }
    if !std::fs::metadata(path).map_err(io)?.is_dir() {
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("txt")) {
            return open_text(&text_file::read(path)?, path, path.display().to_string());
        }
        let message = "it is a file; give the folder that holds the four IDX files, a text (.txt), a table (.csv) or series (.ts)";
        return Err(io(std::io::Error::other(message)));
    }
    let mut files = Vec::new();
    for name in PARTS.as_flattened() {
        let plain = path.join(name);
        let zipped = path.join(format!("{name}.gz"));
        let file = [plain, zipped].into_iter().find(|file| file.exists());
        files.push(file.ok_or_else(|| DataError::MissingFile { folder: path.to_owned(), name: (*name).to_owned() })?);
    }
    let arrays = files.iter().map(|file| Idx::open(file)).collect::<Result<Vec<_>, _>>()?;
    let arrays: [Idx; 4] = arrays.try_into().expect("four files were opened");
    join(arrays, &files, Vec::new(), path.display().to_string())
}

/// The images of the IDX file `path`, without labels (all are class 0 of one).
///
/// # Errors
/// A file that is missing or damaged.
pub fn open_images(path: &Path) -> Result<Images, DataError> {
    let images = Idx::open(path)?;
    let labels = vec![0; images.dims[0]];
    let [channels, height, width] = sizes(&images, path)?;
    Ok(Images { channels, height, width, classes: 1, class_names: vec!["0".to_owned()], pixels: images.data, labels })
}

/// The images of one IDX file with the labels of another.
///
/// # Errors
/// A file that is missing or damaged, or files that do not fit each other.
pub fn open_labelled(images: &Path, labels: &Path) -> Result<Images, DataError> {
    part(Idx::open(images)?, Idx::open(labels)?, images, labels)
}

/// A data set from a text.
pub(super) fn open_text(text: &str, path: &Path, source: String) -> Result<TrainTest, DataError> {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(text.as_bytes());
    let (train, test) = text::divide(text, path)?;
    Ok(TrainTest { train: Dataset::Text(train), test: Dataset::Text(test), hash: hasher.finish(), source })
}

/// A data set from four arrays: training images and labels, test images and labels.
pub(super) fn join(
    [train_images, train_labels, test_images, test_labels]: [Idx; 4],
    files: &[PathBuf],
    class_names: Vec<String>,
    source: String,
) -> Result<TrainTest, DataError> {
    let mut hasher = fnv::FnvHasher::default();
    for array in [&train_images, &train_labels, &test_images, &test_labels] {
        for dim in &array.dims {
            hasher.write(&(*dim as u64).to_le_bytes());
        }
        hasher.write(&array.data);
    }
    let mut train = part(train_images, train_labels, &files[0], &files[1])?;
    let mut test = part(test_images, test_labels, &files[2], &files[3])?;
    if train.size() != test.size() {
        let path = files[2].clone();
        return Err(DataError::ImageSize { path, found: test.size(), expected: train.size() });
    }
    if train.labels.iter().all(|&label| label == train.labels[0]) {
        return Err(DataError::OneClass { path: files[1].clone(), label: train.labels[0] as usize });
    }
    let last = train.classes - 1;
    if let Some(index) = test.labels.iter().position(|&label| label as usize > last) {
        let label = test.labels[index] as usize;
        return Err(DataError::LabelRange { path: files[3].clone(), index, label, last });
    }
    if class_names.len() == train.classes {
        train.class_names = class_names;
    }
    test.classes = train.classes;
    test.class_names.clone_from(&train.class_names);
    Ok(TrainTest { train: Dataset::Images(train), test: Dataset::Images(test), hash: hasher.finish(), source })
}

fn part(images: Idx, labels: Idx, images_path: &Path, labels_path: &Path) -> Result<Images, DataError> {
    let [channels, height, width] = sizes(&images, images_path)?;
    if labels.dims.len() != 1 {
        let (path, found) = (labels_path.to_owned(), labels.dims.len());
        return Err(DataError::Axes { path, found, expected: "labels need 1" });
    }
    if labels.data.len() != images.dims[0] {
        return Err(DataError::LabelCount {
            labels_path: labels_path.to_owned(),
            labels: labels.data.len(),
            images_path: images_path.to_owned(),
            images: images.dims[0],
        });
    }
    let classes = usize::from(labels.data.iter().copied().max().unwrap_or(0)) + 1;
    Ok(Images {
        channels,
        height,
        width,
        classes,
        class_names: (0..classes).map(|class| class.to_string()).collect(),
        pixels: images.data,
        labels: labels.data.into_iter().map(u32::from).collect(),
    })
}

/// Channels, height and width: [n, height, width] is grey, [n, channels, height, width] is not.
fn sizes(images: &Idx, path: &Path) -> Result<[usize; 3], DataError> {
    match *images.dims {
        [_, height, width] => Ok([1, height, width]),
        [_, channels, height, width] => Ok([channels, height, width]),
        _ => {
            let (path, found) = (path.to_owned(), images.dims.len());
            Err(DataError::Axes { path, found, expected: "images need 3 (grey) or 4 (with channels)" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(data: &TrainTest) -> (&Images, &Images) {
        match (&data.train, &data.test) {
            (Dataset::Images(train), Dataset::Images(test)) => (train, test),
            parts => panic!("{parts:?}"),
        }
    }

    fn idx(dims: &[usize], data: &[u8]) -> Idx {
        Idx { dims: dims.to_vec(), data: data.to_vec() }
    }

    fn joined(test_images: Idx, train_labels: &[u8], test_labels: &[u8]) -> Result<TrainTest, DataError> {
        let files: Vec<PathBuf> = ["a", "b", "c", "d"].map(PathBuf::from).to_vec();
        let train_images = idx(&[3, 1, 2], &[1, 2, 3, 4, 5, 6]);
        let labels = |labels: &[u8]| idx(&[labels.len()], labels);
        join([train_images, labels(train_labels), test_images, labels(test_labels)], &files, Vec::new(), String::new())
    }

    #[test]
    fn parts_fit_each_other() {
        let test = || idx(&[1, 1, 2], &[7, 8]);
        let data = joined(test(), &[0, 1, 2], &[1]).unwrap();
        let (train, test_part) = images(&data);
        assert_eq!((train.classes, test_part.classes, test_part.len()), (3, 3, 1));
        let says = |result: Result<TrainTest, DataError>| result.unwrap_err().to_string();
        assert_eq!(says(joined(test(), &[0, 1], &[1])), "b has 2 labels for the 3 images of a");
        assert_eq!(says(joined(test(), &[0, 1, 2], &[3])), "d: label 0 is 3, but the training labels are 0 to 2");
        assert_eq!(
            says(joined(test(), &[1, 1, 1], &[1])),
            "b: all labels are 1; a classifier needs two classes or more"
        );
        let wide = idx(&[1, 1, 3], &[7, 8, 9]);
        assert_eq!(says(joined(wide, &[0, 1, 2], &[1])), "c has images of 1×1×3; the training images are 1×1×2");
        assert_eq!(
            says(joined(idx(&[2], &[7, 8]), &[0, 1, 2], &[1])),
            "c has 1 axes; images need 3 (grey) or 4 (with channels)"
        );
    }

    #[test]
    fn labels_have_one_axis() {
        let labels = idx(&[3, 1], &[0, 1, 2]);
        let error = part(idx(&[3, 1, 2], &[1; 6]), labels, "a".as_ref(), "b".as_ref()).unwrap_err();
        assert_eq!(error.to_string(), "b has 2 axes; labels need 1");
    }

    fn bytes(dims: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, u8::try_from(dims.len()).unwrap()];
        bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    /// A folder of two training images and one test image in colour, 3×1×2, the files whose names end in `.gz` zipped.
    fn folder(names: [&str; 4]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let colours: Vec<u8> = (1..=12).collect();
        let files =
            [bytes(&[2, 3, 1, 2], &colours), bytes(&[2], &[1, 0]), bytes(&[1, 3, 1, 2], &[9; 6]), bytes(&[1], &[1])];
        for (name, data) in names.iter().zip(files) {
            let path = folder.path().join(name);
            if name.ends_with(".gz") {
                let mut zip =
                    flate2::write::GzEncoder::new(std::fs::File::create(path).unwrap(), flate2::Compression::fast());
                std::io::Write::write_all(&mut zip, &data).unwrap();
                zip.finish().unwrap();
            } else {
                std::fs::write(path, data).unwrap();
            }
        }
        folder
    }

    #[test]
    fn colour_images_zipped_and_not_are_the_same_data() {
        let [[a, b], [c, d]] = PARTS;
        let plain = folder([a, b, c, d]);
        let mixed = folder([&format!("{a}.gz"), b, c, &format!("{d}.gz")]);
        let (plain, mixed) = (open(plain.path()).unwrap(), open(mixed.path()).unwrap());
        assert_eq!((&plain.train, &plain.test, plain.hash), (&mixed.train, &mixed.test, mixed.hash));
        let (train, _) = images(&plain);
        assert_eq!((train.size(), train.labels.as_slice()), ("3×1×2".to_owned(), &[1, 0][..]));
        assert_eq!(train.image(1), [7, 8, 9, 10, 11, 12]);
    }

    #[test]
    fn what_is_missing_or_no_folder_is_named() {
        let [[a, b], [c, d]] = PARTS;
        let folder = folder([a, b, c, d]);
        let at = folder.path();
        let says = |path: &Path| open(path).unwrap_err().to_string().replace(&at.display().to_string(), "F");
        assert_eq!(
            says(&at.join(a)),
            format!(
                "reading F/{a}: it is a file; give the folder that holds the four IDX files, a text (.txt), a table (.csv) or series (.ts)"
            )
        );
        assert!(says(&at.join("none")).starts_with("reading F/none: "));
        std::fs::remove_file(at.join(d)).unwrap();
        assert!(says(at).starts_with(&format!("F has no {d} (or {d}.gz); ")), "{}", says(at));
        std::fs::create_dir(at.join(d)).unwrap();
        assert_eq!(says(at), format!("reading F/{d}: it is a folder, not a file"));
    }

    #[test]
    fn the_hash_sees_every_byte() {
        let hash = |byte| joined(idx(&[1, 1, 2], &[7, byte]), &[0, 1, 2], &[1]).unwrap().hash;
        assert_eq!(hash(3), hash(3));
        assert_ne!(hash(3), hash(4));
    }
}
