//! Rust source split into code and comments, line by line, so that a rule about one does not trip over the other.

/// One line of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// What the compiler reads; string and character literals are emptied.
    pub(super) code: String,
    /// The text of comments, with their marks.
    pub(super) comment: String,
}

/// What the characters at the current place belong to.
#[derive(Clone, Copy)]
enum State {
    Code,
    LineComment,
    /// With how many are open: they nest.
    BlockComment(usize),
    Text,
    /// With the number of `#` that close it.
    RawText(usize),
}

/// Splits `source`; the result has as many lines as the source.
pub(super) fn split(source: &str) -> Vec<Line> {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut lines = vec![Line::default()];
    let mut state = State::Code;
    let mut i = 0;
    while i < chars.len() {
        let c = chars[i];
        if c == '\n' {
            if matches!(state, State::LineComment) {
                state = State::Code;
            }
            lines.push(Line::default());
            i += 1;
            continue;
        }
        let line = lines.last_mut().expect("there is always a line");
        let mut taken = 1;
        match state {
            State::Code if c == '/' && at(i + 1) == '/' => {
                state = State::LineComment;
                line.comment.push(c);
            }
            State::Code if c == '/' && at(i + 1) == '*' => {
                state = State::BlockComment(1);
                line.comment.push_str("/*");
                taken = 2;
            }
            State::Code if c == '"' => {
                state = State::Text;
                line.code.push(c);
            }
            State::Code if starts_raw(&chars, i) => {
                let hashes = chars[i + 1..].iter().take_while(|&&c| c == '#').count();
                state = State::RawText(hashes);
                line.code.push_str("r\"");
                taken = hashes + 2;
            }
            State::Code if c == '\'' => {
                taken = character(&chars[i..]).unwrap_or(1);
                line.code.push_str(if taken == 1 { "'" } else { "''" });
            }
            State::Code => line.code.push(c),
            State::LineComment => line.comment.push(c),
            State::BlockComment(depth) if c == '*' && at(i + 1) == '/' => {
                state = if depth == 1 { State::Code } else { State::BlockComment(depth - 1) };
                line.comment.push_str("*/");
                taken = 2;
            }
            State::BlockComment(depth) => {
                if c == '/' && at(i + 1) == '*' {
                    state = State::BlockComment(depth + 1);
                    taken = 2;
                }
                line.comment.extend(&chars[i..i + taken]);
            }
            // A newline after a backslash is left for the next turn, which counts it.
            State::Text if c == '\\' => taken = if at(i + 1) == '\n' { 1 } else { 2 },
            State::Text => {
                if c == '"' {
                    state = State::Code;
                    line.code.push(c);
                }
            }
            State::RawText(hashes) => {
                if c == '"' && (1..=hashes).all(|k| at(i + k) == '#') {
                    state = State::Code;
                    line.code.push(c);
                    taken = hashes + 1;
                }
            }
        }
        i += taken;
    }
    if source.ends_with('\n') {
        lines.pop();
    }
    lines
}

/// Whether a raw string starts here: `r"` or `r#"`, not the end of a name and not a raw name such as `r#type`.
fn starts_raw(chars: &[char], i: usize) -> bool {
    let part_of_name = |c: &char| c.is_alphanumeric() || *c == '_';
    chars[i] == 'r'
        && (i == 0
            || !part_of_name(&chars[i - 1])
            || matches!(chars[i - 1], 'b' | 'c') && (i < 2 || !part_of_name(&chars[i - 2])))
        && chars[i + 1..].iter().find(|&&c| c != '#') == Some(&'"')
}

/// The length of the character literal that starts here; none when it is a lifetime.
fn character(chars: &[char]) -> Option<usize> {
    if chars.get(1) == Some(&'\\') {
        return chars[3..].iter().position(|&c| c == '\'').map(|end| end + 4);
    }
    (chars.get(2) == Some(&'\'')).then_some(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expected: &[(&str, &str)]) {
        let lines: Vec<_> = split(source).into_iter().map(|line| (line.code, line.comment)).collect();
        let expected: Vec<_> = expected.iter().map(|&(code, comment)| (code.to_owned(), comment.to_owned())).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn line_comment() {
        check("a; // b\nc\n", &[("a; ", "// b"), ("c", "")]);
    }

    #[test]
    fn nested_block_comment() {
        check("a /* b /* c */\nd */ e", &[("a ", "/* b /* c */"), (" e", "d */")]);
    }

    #[test]
    fn text_is_emptied() {
        check(r#"f("// \" unsafe"); g"#, &[("f(\"\"); g", "")]);
    }

    #[test]
    fn text_over_lines() {
        check("\"a \\\n b\" c\n", &[("\"", ""), ("\" c", "")]);
    }

    #[test]
    fn raw_text() {
        check("r#\"a \" // b\"# c", &[("r\"\" c", "")]);
        check("br\"\\\" d", &[("br\"\" d", "")]);
    }

    #[test]
    fn names_that_end_in_r() {
        check("for r#type in var {}", &[("for r#type in var {}", "")]);
    }

    #[test]
    fn characters_and_lifetimes() {
        check("'\"' '\\'' '\\u{41}' 'x // y", &[("'' '' '' 'x ", "// y")]);
        check("fn f<'a>(x: &'a str)", &[("fn f<'a>(x: &'a str)", "")]);
    }
}
