//! Text as a sequence of characters, cut into windows of equal length.

use std::collections::HashMap;
use std::path::Path;

use super::DataError;

/// Characters of a text that a network sees at once.
const STEPS: usize = 64;
/// What stands for characters that the training part does not have.
const UNKNOWN: char = '\u{FFFD}';
/// Parts of a text that trains; the last one tests.
const PARTS: usize = 10;

/// A text whose characters are numbered.
///
/// Example *i* is the window of `steps` characters from character *i* · `steps` on; its target are the characters one later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The characters by number; the first stands for all others.
    pub alphabet: Vec<char>,
    /// Characters in a window.
    pub steps: usize,
    /// The text by numbers.
    pub characters: Vec<u32>,
}

impl Text {
    /// The number of windows.
    pub fn len(&self) -> usize {
        self.characters.len().saturating_sub(1) / self.steps
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first windows, and the last `share` of them: text is divided in time, because neighbouring windows know each other.
    #[must_use]
    pub fn split(&self, share: f64) -> (Text, Text) {
        let second = ((self.len() as f64 * share).round() as usize).clamp(1, self.len().max(2) - 1);
        let cut = (self.len() - second) * self.steps;
        let part = |characters: &[u32]| Text { characters: characters.to_vec(), ..self.clone() };
        (part(&self.characters[..=cut]), part(&self.characters[cut..]))
    }

    /// Writes the windows with these numbers into `characters` and what follows each character into `next`.
    ///
    /// # Panics
    /// When a slice is too short for them or a number too large.
    pub fn fill(&self, indices: &[usize], characters: &mut [f32], next: &mut [f32]) {
        let windows = characters.chunks_exact_mut(self.steps).zip(next.chunks_exact_mut(self.steps));
        assert!(windows.len() >= indices.len(), "{} windows do not fit", indices.len());
        for (&i, (characters, next)) in indices.iter().zip(windows) {
            let window = &self.characters[i * self.steps..][..=self.steps];
            for (j, (x, y)) in characters.iter_mut().zip(next).enumerate() {
                (*x, *y) = (window[j] as f32, window[j + 1] as f32);
            }
        }
    }

    /// The numbers of these characters.
    pub fn encode(alphabet: &[char], text: &str) -> Vec<u32> {
        let numbers: HashMap<char, u32> = alphabet.iter().copied().zip(0..).collect();
        text.chars().map(|c| numbers.get(&c).copied().unwrap_or(0)).collect()
    }
}

/// A text in its training part and the tenth at its end, which tests. The alphabet is that of the training part.
///
/// # Errors
/// When it is too short to be divided.
pub(super) fn divide(text: &str, path: &Path) -> Result<(Text, Text), DataError> {
    let characters: Vec<char> = text.chars().collect();
    let cut = characters.len() / PARTS * (PARTS - 1);
    let mut alphabet: Vec<char> = characters[..cut].to_vec();
    alphabet.sort_unstable();
    alphabet.dedup();
    alphabet.insert(0, UNKNOWN);
    let windows = (characters.len() - cut).saturating_sub(1) / STEPS;
    if windows == 0 {
        return Err(DataError::ShortText { path: path.to_owned(), found: characters.len(), need: PARTS * (STEPS + 1) });
    }
    let whole = Text { characters: Text::encode(&alphabet, text), alphabet, steps: STEPS };
    let part = |characters: &[u32]| Text { characters: characters.to_vec(), ..whole.clone() };
    Ok((part(&whole.characters[..cut]), part(&whole.characters[cut..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_shifted_by_one() {
        let text = Text { alphabet: vec![UNKNOWN, 'a', 'b'], steps: 3, characters: vec![1, 2, 1, 2, 2, 1, 0, 1] };
        assert_eq!(text.len(), 2);
        let (mut x, mut y) = ([0.0; 6], [0.0; 6]);
        text.fill(&[1, 0], &mut x, &mut y);
        assert_eq!((x, y), ([2.0, 2.0, 1.0, 1.0, 2.0, 1.0], [2.0, 1.0, 0.0, 2.0, 1.0, 2.0]));
        let (first, second) = text.split(0.5);
        assert_eq!((first.characters, second.characters), (vec![1, 2, 1, 2], vec![2, 2, 1, 0, 1]));
    }

    #[test]
    fn the_alphabet_is_of_the_training_part() {
        let text = format!("{}{}", "ab\n".repeat(300), "xb".repeat(50));
        let (train, test) = divide(&text, "x.txt".as_ref()).unwrap();
        assert_eq!(train.alphabet, [UNKNOWN, '\n', 'a', 'b']);
        assert_eq!((train.characters.len(), test.characters.len()), (900, 100));
        assert_eq!(test.characters[..4], [0, 3, 0, 3]);
        let error = divide("too short", "x.txt".as_ref()).unwrap_err().to_string();
        assert_eq!(error, "x.txt has 9 characters; a text needs 650 or more");
    }
}
