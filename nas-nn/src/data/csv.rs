//! CSV and TSV: tables with a header, whose types are inferred.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};

use ::csv::{ReaderBuilder, StringRecord, Trim};
use nas_core::{Purpose, Seed};

use super::{
    Column, Columns, DataError, Dataset, Kind, Schema, Table, TrainTest, Values, Wanted, shuffled, stratified,
    text_file,
};

/// The most columns.
const MOST_COLUMNS: usize = 10_000;
/// The fewest rows that can be learned from.
const FEWEST_ROWS: usize = 10;
/// A target of whole numbers with no more different ones is one of classes.
const MOST_NUMBERED_CLASSES: usize = 20;
/// The most classes.
const MOST_CLASSES: usize = 1000;
/// Categories that occur less often in the training part count as others, so that networks learn what to make of these.
const RARE: usize = 2;
/// The share of a file's rows that test, if there is no file of them.
const TEST: f64 = 0.2;

/// Whether `path` names a table: `.csv` or `.tsv`, gzipped or not, or a folder with a `train.csv`.
pub(super) fn is_table(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.ends_with(".csv") || name.ends_with(".tsv") || path.join("train.csv").is_file()
}

/// The table in the CSV or TSV file `path`, gzipped or not, a fifth of whose rows test: drawn by a fixed seed, of every class. Or of the
/// folder `path` with `train.csv` and `test.csv`.
///
/// # Errors
/// A file that is missing or damaged; no header, no such target, a row or a value that does not fit, by line and column; too few rows.
pub fn open_table(path: &Path, columns: &Columns) -> Result<TrainTest, DataError> {
    if path.is_dir() {
        let [train, test] = ["train.csv", "test.csv"].map(|name| path.join(name));
        let (train, test) = (Sheet::open(&train)?, Sheet::open(&test)?);
        return divided(&train, Some(&test), columns, path.display().to_string());
    }
    if !is_table(path) {
        let message = "it is no table: its name must end in .csv or .tsv".to_owned();
        return Err(DataError::Table { path: path.to_owned(), message });
    }
    divided(&Sheet::open(path)?, None, columns, path.display().to_string())
}

/// A table of the bytes of a file, as [`open_table`] reads it.
pub(super) fn table_of(bytes: &[u8], path: &Path, columns: &Columns, source: String) -> Result<TrainTest, DataError> {
    divided(&Sheet::read(bytes, path)?, None, columns, source)
}

/// The rows of a file, or of `test.csv` in a folder, by the columns of `schema`; further columns are passed over. Without `labelled` it
/// need not have the target, and what is answered is the first class or missing.
///
/// # Errors
/// As those of [`open_table`].
pub fn read_rows(path: &Path, schema: &Schema, labelled: bool) -> Result<Table, DataError> {
    let path = if path.is_dir() { path.join("test.csv") } else { path.to_owned() };
    Sheet::open(&path)?.table(schema, labelled)
}

fn divided(sheet: &Sheet, test: Option<&Sheet>, columns: &Columns, source: String) -> Result<TrainTest, DataError> {
    let target = match &columns.target {
        Some(name) => sheet.place(name)?,
        None => sheet.header.len() - 1,
    };
    if sheet.header.len() < 2 {
        return Err(sheet.wrong("it has one column; a table needs a target and another one".to_owned()));
    }
    let mut found = sheet.scan(target)?;
    if found.rows < FEWEST_ROWS {
        return Err(sheet.wrong(format!("it has {} rows; a table needs {FEWEST_ROWS} or more", found.rows)));
    }
    let classes = sheet.classes(target, &found, columns.answer, test.is_none())?;
    sheet.understand(columns, target, &mut found)?;
    let mut schema = Schema { columns: Vec::new(), target: sheet.header[target].clone(), classes };
    let mut rng = Seed::new(0).stream(Purpose::Split, 1);
    let (train, tested) = match (test, &schema.classes) {
        (Some(_), _) => ((0..found.rows).collect(), Vec::new()),
        (None, None) => shuffled(found.rows, TEST, &mut rng),
        (None, Some(names)) => match sheet.table(&schema, true)?.target {
            Values::Categories(labels) => stratified(&labels, names.len(), TEST, &mut rng)?,
            Values::Numbers(_) => unreachable!("a target with classes has their numbers"),
        },
    };
    schema.columns = sheet.columns(&found, &train)?;
    let whole = sheet.table(&schema, true)?;
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(sheet.text.as_bytes());
    let (train, test) = match test {
        Some(test) => {
            hasher.write(test.text.as_bytes());
            (whole, test.table(&schema, true)?)
        }
        None => (whole.subset(&train), whole.subset(&tested)),
    };
    hasher.write(schema.target.as_bytes());
    Ok(TrainTest { train: Dataset::Table(train), test: Dataset::Table(test), hash: hasher.finish(), source })
}

/// A file in memory.
pub(super) struct Sheet {
    path: PathBuf,
    text: String,
    delimiter: u8,
    pub(super) header: Vec<String>,
}

/// What a first look at all rows finds.
pub(super) struct Found {
    rows: usize,
    /// Of every column, whether all values that are there are numbers, and there is one.
    pub(super) numeric: Vec<bool>,
    /// Whether these are whole.
    pub(super) whole: Vec<bool>,
    /// Whether no network sees it: the target, and what shall be passed over.
    pub(super) unseen: Vec<bool>,
}

impl Sheet {
    fn open(path: &Path) -> Result<Self, DataError> {
        Self::parse(text_file::read(path)?, path)
    }

    fn read(bytes: &[u8], path: &Path) -> Result<Self, DataError> {
        Self::parse(text_file::decode(bytes, path)?, path)
    }

    fn parse(text: String, path: &Path) -> Result<Self, DataError> {
        let wrong = |message| DataError::Table { path: path.to_owned(), message };
        if text.trim().is_empty() {
            return Err(DataError::Empty { path: path.to_owned() });
        }
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        // The last of equals is the comma.
        let delimiter = *b"\t;,".iter().max_by_key(|&&d| first.bytes().filter(|&b| b == d).count()).expect("three");
        let mut sheet = Sheet { path: path.to_owned(), text, delimiter, header: Vec::new() };
        let header = sheet.reader().headers().map_err(|e| wrong(e.to_string()))?.clone();
        sheet.header = header.iter().map(str::to_owned).collect();
        sheet.check_header()?;
        Ok(sheet)
    }

    fn check_header(&self) -> Result<(), DataError> {
        let header = &self.header;
        if header.len() > MOST_COLUMNS {
            return Err(self.wrong(format!("it has {} columns; at most {MOST_COLUMNS} are read", header.len())));
        }
        if header.iter().all(|name| name.parse::<f64>().is_ok()) {
            let message = "its first line holds numbers; it must be a header with the names of the columns";
            return Err(self.wrong(message.to_owned()));
        }
        let mut seen = BTreeSet::new();
        for (place, name) in header.iter().enumerate() {
            if name.is_empty() {
                return Err(self.wrong(format!("column {} has no name in the header", place + 1)));
            }
            if !seen.insert(name) {
                return Err(self.wrong(format!("two columns are called \"{name}\"")));
            }
        }
        Ok(())
    }

    fn reader(&self) -> ::csv::Reader<&[u8]> {
        ReaderBuilder::new().delimiter(self.delimiter).flexible(true).trim(Trim::All).from_reader(self.text.as_bytes())
    }

    /// Shows every row to `see`, with its number and its line.
    fn each(&self, mut see: impl FnMut(usize, u64, &StringRecord) -> Result<(), DataError>) -> Result<(), DataError> {
        let mut reader = self.reader();
        let mut record = StringRecord::new();
        let mut row = 0;
        while reader.read_record(&mut record).map_err(|e| self.wrong(e.to_string()))? {
            let line = record.position().map_or(0, ::csv::Position::line);
            if record.len() != self.header.len() {
                let (path, found, expected) = (self.path.clone(), record.len(), self.header.len());
                return Err(DataError::RowLength { path, line, found, expected });
            }
            see(row, line, &record)?;
            row += 1;
        }
        Ok(())
    }

    pub(super) fn wrong(&self, message: String) -> DataError {
        DataError::Table { path: self.path.clone(), message }
    }

    fn cell(&self, line: u64, column: usize, message: String) -> DataError {
        DataError::Cell { path: self.path.clone(), line, column: self.header[column].clone(), message }
    }

    /// The place of the column called `name`.
    pub(super) fn place(&self, name: &str) -> Result<usize, DataError> {
        self.header.iter().position(|found| found == name).ok_or_else(|| {
            const SHOWN: usize = 30;
            let known = self.header.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if self.header.len() > SHOWN { ", …" } else { "" };
            self.wrong(format!("it has no column \"{name}\"; columns: {known}{more}"))
        })
    }

    fn scan(&self, target: usize) -> Result<Found, DataError> {
        let (mut rows, mut text) = (0, vec![false; self.header.len()]);
        let mut there = text.clone();
        let mut whole = vec![true; self.header.len()];
        self.each(|_, line, record| {
            rows += 1;
            for (column, value) in record.iter().enumerate().filter(|(_, value)| !is_missing(value)) {
                there[column] = true;
                text[column] |= value.parse::<f64>().is_err();
                whole[column] &= value.parse::<i64>().is_ok();
            }
            if is_missing(&record[target]) {
                return Err(self.cell(line, target, "the target is missing".to_owned()));
            }
            Ok(())
        })?;
        let numeric = there.into_iter().zip(text).map(|(there, text)| there && !text).collect();
        let unseen = (0..self.header.len()).map(|column| column == target).collect();
        Ok(Found { rows, numeric, whole, unseen })
    }

    /// The classes of the column `target`, or nothing if it is a number. Those of a file that is `split` must be large enough for that.
    fn classes(
        &self,
        target: usize,
        found: &Found,
        wanted: Option<Wanted>,
        split: bool,
    ) -> Result<Option<Vec<String>>, DataError> {
        let numeric = found.numeric[target];
        if wanted == Some(Wanted::Number) || wanted.is_none() && numeric {
            let (mut few, mut values) = (true, BTreeSet::new());
            self.each(|_, line, record| {
                let value = self.number(&record[target], line, target)?;
                few &= value.fract() == 0.0 && values.len() <= MOST_NUMBERED_CLASSES;
                if few {
                    values.insert(value as i64);
                }
                Ok(())
            })?;
            if wanted.is_some() || !few || values.len() > MOST_NUMBERED_CLASSES {
                return Ok(None);
            }
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        self.each(|_, _, record| {
            match counts.get_mut(&record[target]) {
                Some(count) => *count += 1,
                None => _ = counts.insert(record[target].to_owned(), 1),
            }
            Ok(())
        })?;
        let name = &self.header[target];
        if counts.len() > MOST_CLASSES {
            let n = counts.len();
            let message = format!(
                "the target \"{name}\" has {n} different values; at most {MOST_CLASSES} classes are told apart"
            );
            return Err(self.wrong(message));
        }
        if counts.len() < 2 {
            return Err(self.wrong(format!("all values of the target \"{name}\" are the same")));
        }
        // One for each of the training, validation and test parts.
        let need = if split { 3 } else { 2 };
        if let Some((class, count)) = counts.iter().find(|&(_, &count)| count < need) {
            let message = format!(
                "the class \"{class}\" of the target \"{name}\" has {count} rows; {need} are needed so that every part has one"
            );
            return Err(self.wrong(message));
        }
        let mut names: Vec<String> = counts.into_keys().collect();
        if numeric {
            let value = |name: &String| name.parse::<f64>().unwrap_or(f64::NAN);
            names.sort_by(|a, b| value(a).total_cmp(&value(b)));
        }
        Ok(Some(names))
    }

    /// All columns that networks see, with what the `train` rows (ascending) know.
    fn columns(&self, found: &Found, train: &[usize]) -> Result<Vec<Column>, DataError> {
        let mut missing = vec![false; self.header.len()];
        let mut counts: Vec<HashMap<String, usize>> = vec![HashMap::new(); self.header.len()];
        let mut next = train.iter().peekable();
        self.each(|row, _, record| {
            if next.next_if(|&&train| train == row).is_none() {
                return Ok(());
            }
            for (column, value) in record.iter().enumerate().filter(|&(column, _)| !found.unseen[column]) {
                let value = if is_missing(value) { "" } else { value };
                if found.numeric[column] {
                    missing[column] |= value.is_empty();
                } else if let Some(count) = counts[column].get_mut(value) {
                    *count += 1;
                } else {
                    counts[column].insert(value.to_owned(), 1);
                }
            }
            Ok(())
        })?;
        let column = |(place, counts): (usize, HashMap<String, usize>)| {
            let known = counts.into_iter().filter(|(_, count)| *count >= RARE);
            let mut names: Vec<String> = known.map(|(name, _)| name).collect();
            names.sort_unstable();
            let kind = match found.numeric[place] {
                true => Kind::Numbers { missing: missing[place] },
                false => Kind::Categories { names },
            };
            Column { name: self.header[place].clone(), kind }
        };
        Ok(counts.into_iter().enumerate().filter(|&(place, _)| !found.unseen[place]).map(column).collect())
    }

    /// Its rows by the columns of `schema`.
    fn table(&self, schema: &Schema, labelled: bool) -> Result<Table, DataError> {
        let places = schema.columns.iter().map(|column| self.place(&column.name)).collect::<Result<Vec<_>, _>>()?;
        let target = if labelled { Some(self.place(&schema.target)?) } else { None };
        let numbers =
            |names: &[String], first: u32| -> HashMap<String, u32> { names.iter().cloned().zip(first..).collect() };
        let known: Vec<HashMap<String, u32>> = (schema.columns.iter())
            .map(|column| match &column.kind {
                Kind::Numbers { .. } => HashMap::new(),
                Kind::Categories { names } => numbers(names, 1),
            })
            .collect();
        let classes = schema.classes.as_ref().map(|names| numbers(names, 0));
        let mut columns: Vec<Values> = (schema.columns.iter())
            .map(|column| match column.kind {
                Kind::Numbers { .. } => Values::Numbers(Vec::new()),
                Kind::Categories { .. } => Values::Categories(Vec::new()),
            })
            .collect();
        let mut answers = match classes {
            Some(_) => Values::Categories(Vec::new()),
            None => Values::Numbers(Vec::new()),
        };
        self.each(|_, line, record| {
            for ((values, &place), known) in columns.iter_mut().zip(&places).zip(&known) {
                let value = &record[place];
                match values {
                    Values::Numbers(values) if is_missing(value) => values.push(f64::NAN),
                    Values::Numbers(values) => values.push(self.number(value, line, place)?),
                    Values::Categories(values) => {
                        let value = if is_missing(value) { "" } else { value };
                        values.push(known.get(value).copied().unwrap_or(0));
                    }
                }
            }
            if let Some(place) = target.filter(|&place| is_missing(&record[place])) {
                return Err(self.cell(line, place, "the target is missing".to_owned()));
            }
            match (&mut answers, target) {
                (Values::Numbers(values), Some(place)) => values.push(self.number(&record[place], line, place)?),
                (Values::Numbers(values), None) => values.push(f64::NAN),
                (Values::Categories(values), None) => values.push(0),
                (Values::Categories(values), Some(place)) => {
                    let class = classes.as_ref().and_then(|classes| classes.get(&record[place]));
                    let unknown = || {
                        let names = schema.classes.iter().flatten().take(20).map(String::as_str).collect::<Vec<_>>();
                        let known = names.join(", ");
                        self.cell(
                            line,
                            place,
                            format!("\"{}\" is no class of the training part: {known}", &record[place]),
                        )
                    };
                    values.push(*class.ok_or_else(unknown)?);
                }
            }
            Ok(())
        })?;
        if answers.is_empty() {
            return Err(self.wrong("it has no rows".to_owned()));
        }
        Ok(Table { schema: schema.clone(), columns, target: answers })
    }

    fn number(&self, value: &str, line: u64, column: usize) -> Result<f64, DataError> {
        let number = value.parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| self.cell(line, column, format!("\"{value}\" is no finite number, as the others are")))
    }
}

/// Whether a value is absent.
fn is_missing(value: &str) -> bool {
    matches!(value, "" | "?" | "NA" | "N/A" | "na" | "n/a" | "NaN" | "nan" | "NULL" | "null")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str, columns: &Columns) -> Result<(Table, Table), DataError> {
        let sheet = Sheet::read(text.as_bytes(), "x.csv".as_ref())?;
        let data = divided(&sheet, None, columns, String::new())?;
        match (data.train, data.test) {
            (Dataset::Table(train), Dataset::Table(test)) => Ok((train, test)),
            parts => panic!("{parts:?}"),
        }
    }

    /// A header and these rows ten times.
    fn tenfold(header: &str, rows: &[&str]) -> String {
        format!("{header}\n{}", format!("{}\n", rows.join("\n")).repeat(10))
    }

    #[track_caller]
    fn check_error(text: &str, target: Option<&str>, expected: &str) {
        let columns = Columns { target: target.map(str::to_owned), ..Columns::default() };
        assert_eq!(parts(text, &columns).unwrap_err().to_string(), expected);
    }

    #[test]
    fn types_are_inferred() {
        let text = tenfold("age;colour;size;kind", &["1;red;?;b", "2.5;;3;a", "-1e1;\"re;d\";4;a"]);
        let (train, test) = parts(&text, &Columns::default()).unwrap();
        assert_eq!((train.len(), test.len()), (24, 6));
        let categories =
            |names: &[&str]| Kind::Categories { names: names.iter().map(|&name| name.to_owned()).collect() };
        let kinds: Vec<&Kind> = train.schema.columns.iter().map(|column| &column.kind).collect();
        let (whole, gaps) = (Kind::Numbers { missing: false }, Kind::Numbers { missing: true });
        assert_eq!(kinds, [&whole, &categories(&["", "re;d", "red"]), &gaps]);
        assert_eq!(train.schema.classes, Some(vec!["a".to_owned(), "b".to_owned()]));
        // Every class has its share of the test part.
        let Values::Categories(classes) = &test.target else { panic!("no classes") };
        assert_eq!(classes.iter().filter(|&&class| class == 1).count(), 2);
    }

    #[test]
    fn whole_numbers_are_classes_if_they_are_few() {
        let of = |rows: std::ops::Range<i32>, answer| {
            let rows: Vec<String> = rows.flat_map(|y| vec![format!("{y},1"); 3]).collect();
            let columns = Columns { target: Some("y".to_owned()), answer, ..Columns::default() };
            parts(&format!("y,x\n{}", rows.join("\n")), &columns).unwrap().0.schema.classes.map(|names| names.len())
        };
        assert_eq!([of(0..20, None), of(0..21, None)], [Some(20), None]);
        assert_eq!([of(0..20, Some(Wanted::Number)), of(0..21, Some(Wanted::Class))], [None, Some(21)]);
        let halves = parts(&tenfold("x,y", &["1,0.5", "1,1"]), &Columns::default()).unwrap();
        assert_eq!(halves.0.schema.classes, None);
        let (train, _) = parts(&tenfold("x,y", &["1,10", "1,9"]), &Columns::default()).unwrap();
        assert_eq!(train.schema.classes.unwrap(), ["9", "10"]);
    }

    #[test]
    fn rare_and_new_categories_are_others() {
        let text = format!("{}d,once,1\n", tenfold("x,c,y", &["a,left,0.5", "b,right,1.5"]));
        let (train, _) = parts(&text, &Columns::default()).unwrap();
        let Kind::Categories { names } = &train.schema.columns[1].kind else { panic!("numbers") };
        assert_eq!(names, &["left", "right"]);
        let sheet = Sheet::read(b"c\tmore\tx\nright\t1\tb\nnew\t2\t\n", "y.tsv".as_ref()).unwrap();
        let rows = sheet.table(&train.schema, false).unwrap();
        assert_eq!(rows.columns[1], Values::Categories(vec![2, 0]));
        assert_eq!(rows.columns[0], Values::Categories(vec![2, 0]));
        let error = sheet.table(&train.schema, true).unwrap_err().to_string();
        assert_eq!(error, "y.tsv: it has no column \"y\"; columns: c, more, x");
    }

    #[test]
    fn ids_and_what_is_told_are_categories() {
        let text = tenfold("user_id,day,code,pin,y", &["12,1,5,0.5,0.5", "7,2,6,1.5,1.5", "7,3,6,2.5,0.25"]);
        let told = |categories: &[&str], ignore: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let columns = Columns { categories: owned(categories), ignore: owned(ignore), ..Columns::default() };
            parts(&text, &columns).map(|(train, _)| train.schema.columns)
        };
        let names = |column: &Column| match &column.kind {
            Kind::Categories { names } => names.clone(),
            Kind::Numbers { .. } => Vec::new(),
        };
        let usual = told(&[], &[]).unwrap();
        assert_eq!(usual.iter().map(names).collect::<Vec<_>>(), [vec!["12", "7"], vec![], vec![], vec![]]);
        let columns = told(&["code"], &["day", "user_id"]).unwrap();
        assert_eq!(columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["code", "pin"]);
        assert_eq!(names(&columns[0]), ["5", "6"]);
        let says = |categories: &[&str], ignore: &[&str]| told(categories, ignore).unwrap_err().to_string();
        assert_eq!(says(&["cod"], &[]), "x.csv: it has no column \"cod\"; columns: user_id, day, code, pin, y");
        assert_eq!(says(&[], &["y"]), "x.csv: \"y\" is the target, which is neither a category nor ignored");
        assert_eq!(says(&["day"], &["day"]), "x.csv: the column \"day\" shall be a category and be ignored");
        let all = ["user_id", "day", "code", "pin"];
        assert_eq!(says(&[], &all), "x.csv: all its columns but the target are ignored");
    }

    #[test]
    fn a_folder_holds_both_parts() {
        let folder = tempfile::tempdir().unwrap();
        let open = || open_table(folder.path(), &Columns::default());
        std::fs::write(folder.path().join("train.csv"), tenfold("x,y", &["1,a", "2,b"])).unwrap();
        assert!(open().unwrap_err().to_string().contains("test.csv"));
        std::fs::write(folder.path().join("test.csv"), "y,x\nb,2\n").unwrap();
        let data = open().unwrap();
        assert_eq!((data.train.len(), data.test.len()), (20, 1));
        std::fs::write(folder.path().join("test.csv"), "y,x\nb,2\nc,2\n").unwrap();
        let error = open().unwrap_err().to_string();
        assert!(
            error.ends_with("test.csv, line 3, column \"y\": \"c\" is no class of the training part: a, b"),
            "{error}"
        );
    }

    #[test]
    fn bad_files_are_named_by_line_and_column() {
        let good = tenfold("x,y", &["1,0.5", "2,1.5"]);
        check_error("", None, "x.csv is empty");
        check_error("x,y\n", None, "x.csv: it has 0 rows; a table needs 10 or more");
        check_error(
            "1,2\n3,4\n",
            None,
            "x.csv: its first line holds numbers; it must be a header with the names of the columns",
        );
        check_error("x,\n1,2\n", None, "x.csv: column 2 has no name in the header");
        check_error("x,x\n1,2\n", None, "x.csv: two columns are called \"x\"");
        check_error("x\n1\n", None, "x.csv: it has one column; a table needs a target and another one");
        check_error(&good, Some("z"), "x.csv: it has no column \"z\"; columns: x, y");
        check_error(&format!("{good}1\n"), None, "x.csv, line 22: it has 1 values and the header 2");
        check_error(&format!("{good}1,\n"), None, "x.csv, line 22, column \"y\": the target is missing");
        check_error(
            &format!("{good}inf,1\n"),
            None,
            "x.csv, line 22, column \"x\": \"inf\" is no finite number, as the others are",
        );
        check_error(&tenfold("x,y", &["1,a"]), None, "x.csv: all values of the target \"y\" are the same");
        check_error(
            &format!("{}1,c\n", tenfold("x,y", &["1,a", "2,b"])),
            None,
            "x.csv: the class \"c\" of the target \"y\" has 1 rows; 3 are needed so that every part has one",
        );
        let columns = Columns { answer: Some(Wanted::Number), ..Columns::default() };
        let error = parts(&tenfold("x,y", &["1,a"]), &columns).unwrap_err().to_string();
        assert_eq!(error, "x.csv, line 2, column \"y\": \"a\" is no finite number, as the others are");
        let error = Sheet::read(b"x,y\n\xff,1\n", "x.csv".as_ref()).err().unwrap().to_string();
        assert_eq!(error, "x.csv is no UTF-8 text: byte 4 is not");
        let wide = format!("{}\n", "x,".repeat(20_000));
        check_error(&wide, None, "x.csv: it has 20001 columns; at most 10000 are read");
    }

    #[test]
    fn mutated_files_never_panic() {
        use rand::RngExt as _;
        let good = tenfold("x,c,y", &["1,a,0.5", "?,\"b\",1.5"]);
        let mut rng = Seed::new(3).stream(Purpose::Test, 0);
        let mut refused = 0;
        for _ in 0..3000 {
            let mut bytes = good.clone().into_bytes();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = *b"\",;\n\r\t-e9xi\xff\0 ?.".get(rng.random_range(0..16)).unwrap();
            }
            bytes.truncate(rng.random_range(1..=bytes.len()));
            let read = Sheet::read(&bytes, "x.csv".as_ref());
            refused +=
                usize::from(read.and_then(|sheet| divided(&sheet, None, &Columns::default(), String::new())).is_err());
        }
        assert!(refused > 100 && refused < 3000, "{refused}");
    }
}
