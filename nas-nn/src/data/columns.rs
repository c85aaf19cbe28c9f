//! What is said of a table's columns, and which whole numbers are ids.

use serde::{Deserialize, Serialize};

use super::DataError;
use super::csv::{Found, Sheet};

/// Which column of a table is answered, and how; which columns hold categories, and which are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// The name of the target; the last column if absent.
    pub target: Option<String>,
    /// What is answered; if absent, a target of numbers is a number unless it has few whole ones.
    pub answer: Option<Wanted>,
    /// The names of columns that hold categories, though their values be numbers. Ids are found by themselves ([`is_id`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// The names of columns that no network sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
}

/// How a target is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// As one of some classes.
    Class,
    /// As a number.
    Number,
}

/// Whom ids written in one case are of: `userid`, `ITEMID`. Other words end in "id" too: `paid`, `humid`.
const OWNERS: [&str; 8] = ["user", "item", "movie", "product", "customer", "book", "artist", "song"];

/// Whether a column of whole numbers that is called `name` holds ids, which are categories: its name is `id`, or ends in a word of its own
/// that is (`userId`, `movie_id`, `Item ID`), or is that of a user or an item (`userid`).
///
/// ```
/// use nas_nn::data::is_id;
///
/// assert!(["id", "ID", "userId", "movieID", "movie_id", "Item Id", "userid"].map(is_id).into_iter().all(|id| id));
/// assert!(["amount_paid", "humid", "RAPID", "idle", "width"].map(is_id).into_iter().all(|id| !id));
/// ```
pub fn is_id(name: &str) -> bool {
    let Some((stem, ending)) = name.len().checked_sub(2).and_then(|at| name.split_at_checked(at)) else { return false };
    if !ending.eq_ignore_ascii_case("id") {
        return false;
    }
    match stem.chars().next_back() {
        None => true,
        Some(last) if !last.is_alphanumeric() => true,
        Some(last) if ending.starts_with('I') && (last.is_lowercase() || last.is_numeric()) => true,
        _ => OWNERS.iter().any(|owner| stem.eq_ignore_ascii_case(owner)),
    }
}

impl Sheet {
    /// Adds to what was `found` what is said of the columns and what their names say.
    pub(super) fn understand(&self, columns: &Columns, target: usize, found: &mut Found) -> Result<(), DataError> {
        for (place, name) in self.header.iter().enumerate() {
            found.numeric[place] &= !(found.whole[place] && is_id(name));
        }
        let told = |name: &String| {
            let place = self.place(name)?;
            if place == target {
                return Err(self.wrong(format!("\"{name}\" is the target, which is neither a category nor ignored")));
            }
            Ok(place)
        };
        for name in &columns.categories {
            found.numeric[told(name)?] = false;
        }
        for name in &columns.ignore {
            if columns.categories.contains(name) {
                return Err(self.wrong(format!("the column \"{name}\" shall be a category and be ignored")));
            }
            found.unseen[told(name)?] = true;
        }
        if found.unseen.iter().all(|&unseen| unseen) {
            return Err(self.wrong("all its columns but the target are ignored".to_owned()));
        }
        Ok(())
    }
}
