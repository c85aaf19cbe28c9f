//! The `.ts` files of the UCR and UEA archives of time series: a line a series, channels separated by colons, values by commas, the class last.

use std::hash::Hasher as _;
use std::path::{Path, PathBuf};

use nas_core::{Purpose, Seed};

use super::series::Series;
use super::{DataError, Dataset, TrainTest, text_file};

/// The most classes.
const MOST_CLASSES: usize = 1000;
/// The most numbers of all series together, at the length to which they are stretched.
const MOST_VALUES: usize = 1 << 28;
/// The share of a file's series that test, if there is no file of them.
const TEST: f64 = 0.2;

/// A line of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recording {
    /// Its line, from 1.
    pub(super) line: usize,
    /// The values of each channel, one or more and of one length.
    pub(super) channels: Vec<Vec<f32>>,
    /// The text of its class.
    pub(super) class: String,
}

/// Whether `path` names series: a file `.ts`, gzipped or not, or a folder that holds one.
pub(super) fn is_series(path: &Path) -> bool {
    if path.is_dir() { !files(path).is_empty() } else { is_ts(path) }
}

fn is_ts(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    name.strip_suffix(".gz").unwrap_or(&name).ends_with(".ts")
}

/// The `.ts` files of a folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file() && is_ts(path)).collect();
    files.sort();
    files
}

/// The series at `path`: a folder with a file `…_TRAIN.ts` and a file `…_TEST.ts`, either of these files, or another file, a fifth of whose
/// series test, drawn by a fixed seed, of every class.
///
/// # Errors
/// A file that is missing or damaged, a value that is no number, by its line; too many series or too few.
pub(super) fn open_series(path: &Path) -> Result<TrainTest, DataError> {
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let part = |file: &Path, part: &str| file.to_string_lossy().to_uppercase().contains(&format!("_{part}.TS"));
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let stem = |file: &Path| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        name.split("_TRAIN.TS").next().and_then(|name| name.split("_TEST.TS").next()).unwrap_or_default().to_owned()
    };
    let all = files(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let candidates = || all.iter().filter(|file| path.is_dir() || stem(file) == stem(path));
    let (train, test) = (candidates().find(|f| part(f, "TRAIN")), candidates().find(|f| part(f, "TEST")));
    let source = path.display().to_string();
    match (train, test) {
        (Some(train), Some(test)) => {
            divided((&text_file::read(train)?, train), Some((&text_file::read(test)?, test)), source)
        }
        _ if path.is_dir() && all.len() == 1 => divided((&text_file::read(&all[0])?, &all[0]), None, source),
        _ if path.is_dir() => {
            let message = "of its .ts files none ends in _TRAIN.ts and another in _TEST.ts";
            Err(io(std::io::Error::other(message)))
        }
        _ => divided((&text_file::read(path)?, path), None, source),
    }
}

/// A data set from the bytes of two files.
pub(super) fn series_of(train: (&[u8], &Path), test: (&[u8], &Path), source: String) -> Result<TrainTest, DataError> {
    let texts = [train, test].map(|(bytes, path)| Ok((text_file::decode(bytes, path)?, path)));
    let [train, test] = texts;
    let (train, test): ((String, &Path), (String, &Path)) = (train?, test?);
    divided((&train.0, train.1), Some((&test.0, test.1)), source)
}

/// The series of a file as a network sees them that was trained on series of `channels` and `steps` in these classes. Without `labelled`
/// nobody looks at their classes.
///
/// # Errors
/// A file that is missing or damaged, or series of other channels or classes.
pub fn read_series(
    path: &Path,
    [channels, steps]: [usize; 2],
    class_names: &[String],
    labelled: bool,
) -> Result<Series, DataError> {
    Series::of(&recordings(&text_file::read(path)?, path)?, path, [channels, steps], class_names, labelled)
}

fn divided(train: (&str, &Path), test: Option<(&str, &Path)>, source: String) -> Result<TrainTest, DataError> {
    let (text, path) = train;
    let first = recordings(text, path)?;
    let channels = first[0].channels.len();
    // Of the training part alone, so that nothing is known of the other.
    let steps = first.iter().map(|r| r.channels[0].len()).max().unwrap_or(0);
    let wrong = |message: String| DataError::Series { path: path.to_owned(), line: first[0].line, message };
    let mut class_names: Vec<String> = first.iter().map(|recording| recording.class.clone()).collect();
    sort(&mut class_names);
    if !(2..=MOST_CLASSES).contains(&class_names.len()) {
        let found = class_names.len();
        return Err(wrong(format!("all series together have {found} classes; 2 to {MOST_CLASSES} are needed")));
    }
    if first.len().saturating_mul(channels).saturating_mul(steps) > MOST_VALUES {
        let message = format!("{} series of {channels} channels and {steps} steps do not fit in memory", first.len());
        return Err(wrong(message));
    }
    let whole = Series::of(&first, path, [channels, steps], &class_names, true)?;
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(text.as_bytes());
    let (train, test) = match test {
        Some((text, path)) => {
            hasher.write(text.as_bytes());
            let second = Series::of(&recordings(text, path)?, path, [channels, steps], &class_names, true)?;
            (whole, second)
        }
        None => whole.split(TEST, &mut Seed::new(0).stream(Purpose::Split, 1))?,
    };
    Ok(TrainTest { train: Dataset::Series(train), test: Dataset::Series(test), hash: hasher.finish(), source })
}

/// Each once: as numbers where all are numbers, else as texts.
fn sort(names: &mut Vec<String>) {
    let number = |name: &String| name.parse::<f64>().ok().filter(|x| x.is_finite());
    if names.iter().all(|name| number(name).is_some()) {
        names.sort_by(|a, b| number(a).partial_cmp(&number(b)).expect("both are finite").then_with(|| a.cmp(b)));
    } else {
        names.sort_unstable();
    }
    names.dedup();
}

/// The series of a text, one or more, all of one number of channels.
fn recordings(text: &str, path: &Path) -> Result<Vec<Recording>, DataError> {
    let mut found: Vec<Recording> = Vec::new();
    let wrong = |line: usize, message: String| DataError::Series { path: path.to_owned(), line, message };
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if content.is_empty() || content.starts_with(['#', '@', '%']) {
            if content.to_lowercase().starts_with("@timestamps true") {
                return Err(wrong(line, "its values have time stamps, which are not read".to_owned()));
            }
            continue;
        }
        let Some((channels, class)) = content.rsplit_once(':') else {
            return Err(wrong(line, "it has no colon; a series is its channels, then its class".to_owned()));
        };
        let mut recording = Recording { line, channels: Vec::new(), class: class.trim().to_owned() };
        for (channel, values) in (1..).zip(channels.split(':')) {
            let number = |(place, value): (usize, &str)| match value.trim().parse::<f32>() {
                Ok(number) if number.is_finite() => Ok(number),
                _ => Err(wrong(
                    line,
                    format!("value {place} of channel {channel} is \"{}\"; it must be a number", value.trim()),
                )),
            };
            recording.channels.push((1..).zip(values.split(',')).map(number).collect::<Result<_, _>>()?);
        }
        let length = recording.channels[0].len();
        if let Some(other) = recording.channels.iter().position(|channel| channel.len() != length) {
            let n = recording.channels[other].len();
            return Err(wrong(line, format!("channel {} has {n} values, the first one {length}", other + 1)));
        }
        if let Some(first) = found.first()
            && first.channels.len() != recording.channels.len()
        {
            let (n, m) = (recording.channels.len(), first.channels.len());
            return Err(wrong(line, format!("it has {n} channels, the first series {m}")));
        }
        found.push(recording);
    }
    if found.is_empty() {
        return Err(DataError::Empty { path: path.to_owned() });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str =
        "# a comment\n@problemName small\n@data\n1,2,3:4,5,6:b\n1,2:4,5:a\n\n0,0,1:1,1,1:b\n2,2:3,3:a\n";

    fn says(text: &str) -> String {
        recordings(text, "x.ts".as_ref()).unwrap_err().to_string()
    }

    #[test]
    fn lengths_become_one_and_classes_are_sorted() {
        let path: &Path = "x.ts".as_ref();
        let data = divided((SMALL, path), Some(("9,9,9,9:1,1,1,1:a\n", path)), "x".to_owned()).unwrap();
        let (Dataset::Series(train), Dataset::Series(test)) = (data.train, data.test) else { panic!("no series") };
        assert_eq!((train.channels, train.steps, train.len()), (2, 3, 4));
        assert_eq!(
            (train.class_names.as_slice(), train.labels.as_slice()),
            (&["a".to_owned(), "b".to_owned()][..], &[1, 0, 1, 0][..])
        );
        assert_eq!(train.series(1), [1.0, 1.5, 2.0, 4.0, 4.5, 5.0]);
        assert_eq!((test.series(0), test.labels[0]), (&[9.0, 9.0, 9.0, 1.0, 1.0, 1.0][..], 0));
    }

    #[test]
    fn classes_that_are_numbers_are_sorted_as_such() {
        let mut names = ["10", "9", "10", "-1"].map(str::to_owned).to_vec();
        sort(&mut names);
        assert_eq!(names, ["-1", "9", "10"]);
    }

    #[test]
    fn mistakes_name_the_line() {
        assert_eq!(says("1,2,3\n"), "x.ts, line 1: it has no colon; a series is its channels, then its class");
        assert_eq!(says("@data\n1,2:a\n1,?:a\n"), "x.ts, line 3: value 2 of channel 1 is \"?\"; it must be a number");
        assert_eq!(says("1,2:3:a\n"), "x.ts, line 1: channel 2 has 1 values, the first one 2");
        assert_eq!(says("1,2:a\n1,2:3,4:a\n"), "x.ts, line 2: it has 2 channels, the first series 1");
        assert_eq!(says("@data\n"), "x.ts is empty");
        assert!(says("@timeStamps true\n").contains("time stamps"));
        let path: &Path = "x.ts".as_ref();
        let one = divided((&SMALL.replace(":a", ":b"), path), None, String::new()).unwrap_err().to_string();
        assert!(one.ends_with("all series together have 1 classes; 2 to 1000 are needed"), "{one}");
        let other = divided((SMALL, path), Some(("9:1:c\n", path)), String::new()).unwrap_err().to_string();
        assert_eq!(other, "x.ts, line 1: its class is \"c\"; classes: a, b");
    }
}
