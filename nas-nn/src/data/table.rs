//! Tables: columns of numbers and of categories, and a column that is answered.

use serde::{Deserialize, Serialize};

use crate::task::{Answer, Task};

/// Standard deviations from the mean beyond which a number counts as that far away: one wild value shall not move a whole network.
const REACH: f64 = 10.0;

/// What the columns of a table are: their kinds, and the categories that its training part knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// The columns that a network sees, in order.
    pub columns: Vec<Column>,
    /// The name of the column that it answers.
    pub target: String,
    /// The names of the target's classes, in order; nothing if it is a number.
    pub classes: Option<Vec<String>>,
}

/// A column that a network sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name in the header.
    pub name: String,
    /// What stands in it.
    pub kind: Kind,
}

/// What stands in a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    /// Numbers.
    Numbers {
        /// Whether some are missing in the training part: then networks see beside the number whether it is there.
        missing: bool,
    },
    /// One of some categories.
    Categories {
        /// The text of category 1, 2, …; category 0 is every other. The empty text is that of a value that is missing.
        names: Vec<String>,
    },
}

/// The values of a column, one a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers; not a number where one is missing.
    Numbers(Vec<f64>),
    /// Numbers of categories or classes.
    Categories(Vec<u32>),
}

impl Values {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Values::Numbers(values) => values.len(),
            Values::Categories(values) => values.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn subset(&self, rows: &[usize]) -> Values {
        match self {
            Values::Numbers(values) => Values::Numbers(rows.iter().map(|&row| values[row]).collect()),
            Values::Categories(values) => Values::Categories(rows.iter().map(|&row| values[row]).collect()),
        }
    }
}

/// A table by columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What the columns are.
    pub schema: Schema,
    /// The columns of the schema.
    pub columns: Vec<Values>,
    /// What is answered: numbers of classes if the schema has classes.
    pub target: Values,
}

impl Schema {
    /// What networks for such a table do.
    pub fn task(&self) -> Task {
        let (mut numbers, mut categories) = (0, Vec::new());
        for column in &self.columns {
            match &column.kind {
                Kind::Numbers { missing } => numbers += 1 + usize::from(*missing),
                Kind::Categories { names } => categories.push(names.len() + 1),
            }
        }
        let answer = match &self.classes {
            Some(names) => Answer::Class { classes: names.len() },
            None => Answer::Number,
        };
        Task::Table { numbers, categories, answer }
    }
}

impl Table {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.target.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows with these numbers, in that order.
    #[must_use]
    pub fn subset(&self, rows: &[usize]) -> Table {
        Table {
            schema: self.schema.clone(),
            columns: self.columns.iter().map(|values| values.subset(rows)).collect(),
            target: self.target.subset(rows),
        }
    }

    /// Writes the rows with these numbers, prepared, into `fields`: one for each input of the table's task, then the target.
    ///
    /// # Panics
    /// When a field is absent or too short, a number too large, or the preparation is of another table.
    pub fn fill(&self, rows: &[usize], preparation: &TablePreparation, fields: &mut [&mut [f32]]) {
        let Task::Table { numbers, categories, .. } = self.schema.task() else { unreachable!("a table's task") };
        let mut fields = fields.iter_mut();
        let mut field = || fields.next().expect("a field for every input and the target");
        let mut scales = preparation.numbers.iter();
        if numbers > 0 {
            let field = field();
            let mut place = 0;
            for (column, values) in self.schema.columns.iter().zip(&self.columns) {
                let (Kind::Numbers { missing }, Values::Numbers(values)) = (&column.kind, values) else { continue };
                let scale = scales.next().expect("a scale for every column of numbers");
                for (i, &row) in rows.iter().enumerate() {
                    let at = &mut field[i * numbers + place..];
                    at[0] = scale.of(values[row]) as f32;
                    if *missing {
                        at[1] = f32::from(u8::from(values[row].is_nan()));
                    }
                }
                place += 1 + usize::from(*missing);
            }
        }
        if !categories.is_empty() {
            let field = field();
            // One table of embeddings holds the categories of all columns, one column after the other.
            let (mut place, mut first) = (0, 0);
            for values in &self.columns {
                let Values::Categories(values) = values else { continue };
                for (i, &row) in rows.iter().enumerate() {
                    field[i * categories.len() + place] = (first + values[row] as usize) as f32;
                }
                first += categories[place];
                place += 1;
            }
        }
        let field = field();
        for (y, &row) in field.iter_mut().zip(rows) {
            *y = match (&self.target, &preparation.target) {
                (Values::Categories(classes), _) => classes[row] as f32,
                (Values::Numbers(values), Some(scale)) => scale.standardized(values[row]) as f32,
                (Values::Numbers(_), None) => panic!("the preparation is of a table with classes"),
            };
        }
    }
}

/// How the rows of a table are prepared; fitted on training rows alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TablePreparation {
    /// What the columns are, for reading new rows.
    pub schema: Schema,
    /// The scale of each column of numbers, in order.
    pub numbers: Vec<Scale>,
    /// The scale of a target that is a number.
    pub target: Option<Scale>,
}

/// The mean and the standard deviation of a column.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Of the values that are not missing; 0 if there are none.
    pub mean: f64,
    /// Above zero: 1 if all values are the same.
    pub std: f64,
}

impl Scale {
    /// Of the numbers among `values`.
    pub fn fit(values: &[f64]) -> Self {
        let numbers = || values.iter().filter(|x| !x.is_nan());
        let n = numbers().count().max(1) as f64;
        // Divided first: sums of huge numbers stay finite.
        let mean = numbers().map(|x| x / n).sum::<f64>();
        let largest = numbers().map(|x| (x - mean).abs()).fold(0.0, f64::max);
        let std = largest * (numbers().map(|x| ((x - mean) / largest).powi(2)).sum::<f64>() / n).sqrt();
        Scale { mean, std: if std.is_finite() && std > 1e-12 * mean.abs() && std > 0.0 { std } else { 1.0 } }
    }

    /// Whether it can be used.
    pub(crate) fn is_usable(self) -> bool {
        self.mean.is_finite() && self.std.is_finite() && self.std > 0.0
    }

    /// `x` in standard deviations from the mean.
    fn standardized(self, x: f64) -> f64 {
        if x.is_nan() { 0.0 } else { (x - self.mean) / self.std }
    }

    /// The same within the reach; 0, the mean, for a number that is missing.
    fn of(self, x: f64) -> f64 {
        self.standardized(x).clamp(-REACH, REACH)
    }

    /// The number that is `z` standard deviations from the mean.
    pub fn back(self, z: f64) -> f64 {
        self.mean + self.std * z
    }
}

impl TablePreparation {
    /// Fitted on the rows of `table`.
    pub fn fit(table: &Table) -> Self {
        let scale = |values: &Values| match values {
            Values::Numbers(values) => Some(Scale::fit(values)),
            Values::Categories(_) => None,
        };
        TablePreparation {
            schema: table.schema.clone(),
            numbers: table.columns.iter().filter_map(scale).collect(),
            target: scale(&table.target),
        }
    }

    /// # Errors
    /// What does not fit a network for `task`, in words.
    pub(crate) fn check(&self, task: &Task) -> Result<(), String> {
        let found = self.schema.task();
        if found != *task {
            return Err(format!("its columns are those of {found} and its task is {task}"));
        }
        let columns = self.schema.columns.iter().filter(|column| matches!(column.kind, Kind::Numbers { .. })).count();
        let scales = self.numbers.iter().chain(&self.target).all(|scale| scale.is_usable());
        if self.numbers.len() != columns || self.target.is_some() != self.schema.classes.is_none() || !scales {
            return Err(format!("its scales do not fit {columns} columns of numbers: {:?}", self.numbers));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        let names = vec!["red".to_owned(), String::new()];
        Table {
            schema: Schema {
                columns: vec![
                    column("colour", Kind::Categories { names }),
                    column("size", Kind::Numbers { missing: true }),
                    column("side", Kind::Categories { names: vec!["left".to_owned()] }),
                    column("weight", Kind::Numbers { missing: false }),
                ],
                target: "price".to_owned(),
                classes: None,
            },
            columns: vec![
                Values::Categories(vec![1, 2, 0]),
                Values::Numbers(vec![1.0, f64::NAN, 3.0]),
                Values::Categories(vec![1, 0, 1]),
                Values::Numbers(vec![7.0; 3]),
            ],
            target: Values::Numbers(vec![10.0, 20.0, 30.0]),
        }
    }

    #[test]
    fn rows_by_hand() {
        let table = table();
        let task = table.schema.task();
        assert_eq!(task, Task::Table { numbers: 3, categories: vec![3, 2], answer: Answer::Number });
        let preparation = TablePreparation::fit(&table);
        assert_eq!(preparation.numbers, [Scale { mean: 2.0, std: 1.0 }, Scale { mean: 7.0, std: 1.0 }]);
        assert_eq!(preparation.check(&task), Ok(()));
        let (mut numbers, mut categories, mut target) = ([9.0; 6], [9.0; 4], [9.0; 2]);
        table.fill(&[1, 2], &preparation, &mut [&mut numbers, &mut categories, &mut target]);
        assert_eq!(numbers, [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(categories, [2.0, 3.0, 0.0, 4.0]);
        assert_eq!((target[0], (target[1] - 1.5_f32.sqrt()).abs() < 1e-6), (0.0, true));
        assert_eq!(preparation.target.unwrap().back(0.0), 20.0);
        assert_eq!(table.subset(&[2]).columns[1], Values::Numbers(vec![3.0]));
    }

    #[test]
    fn wild_numbers_have_a_scale() {
        let scale = Scale::fit(&[1e300, -1e300, f64::NAN]);
        assert_eq!((scale.mean, scale.std), (0.0, 1e300));
        assert_eq!(scale.of(f64::MAX), REACH);
        assert_eq!(Scale::fit(&[f64::NAN]), Scale { mean: 0.0, std: 1.0 });
        assert_eq!(Scale::fit(&[0.1; 7]).std, 1.0);
    }

    #[test]
    fn scales_that_do_not_fit_are_refused() {
        let table = table();
        let mut preparation = TablePreparation::fit(&table);
        preparation.numbers[1].std = 0.0;
        assert!(preparation.check(&table.schema.task()).unwrap_err().starts_with("its scales do not fit 2 columns"));
        let other = Task::Table { numbers: 1, categories: Vec::new(), answer: Answer::Number };
        assert!(preparation.check(&other).unwrap_err().starts_with("its columns are those of"));
    }
}
