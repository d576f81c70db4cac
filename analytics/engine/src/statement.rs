//! Reads just enough of a statement to know how to run it.
//!
//! In: SQL text. Out: its kind: rows to stream, a command to run whole, or an INSERT cut into head, format and inline data.
//! The engine's own parser decides what is admitted (see [`admit`]); this reading only routes, except that `INFILE` and
//! `OUTFILE` are refused here, since the engine's client layer would open files for them. Pure.

mod token;

use crate::failure::{Failure, code};
use crate::ffi::{Analysis, Class};
use token::{Token, tokens};

/// How to run a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement<'sql> {
    /// SELECT or WITH; `format` when the text ends in a FORMAT clause.
    Rows { format: Option<&'sql str> },
    /// INSERT with data: `head` up to FORMAT or VALUES, the data's format, and the data that stands in the text itself.
    Insert { head: &'sql str, format: &'sql str, inline: &'sql str },
    /// Anything else; `reads` when its first word says that it changes nothing.
    Command { reads: bool },
}

impl<'sql> Statement<'sql> {
    /// Reads a statement. Fails only on words that reach files.
    pub(crate) fn read(sql: &'sql str) -> Result<Self, Failure> {
        let mut words = tokens(sql).skip_while(|token| token.is(b'('));
        let first = words.next().map_or("", |token| token.text);
        if first.eq_ignore_ascii_case("insert") {
            return read_insert(sql);
        }
        refuse_files(sql)?;
        Ok(if is_any(first, &["select", "with", "from"]) {
            Self::Rows { format: trailing_format(sql) }
        } else {
            Self::Command {
                reads: is_any(first, &["show", "describe", "desc", "explain", "exists", "check"]),
            }
        })
    }
}

/// Whether one of the engine's analysed statements may run. `writable` is false for readers.
pub(crate) fn admit(analysis: Analysis, sql: &str, writable: bool) -> Result<(), Failure> {
    if analysis.statements > 1 {
        return Err(Failure::new(
            code::SYNTAX_ERROR,
            format!(
                "a request holds one statement, this one holds {}: send them one by one. (SYNTAX_ERROR)",
                analysis.statements
            ),
        ));
    }
    match analysis.class {
        Class::Reads => Ok(()),
        Class::Writes | Class::WritesGlobally if writable => Ok(()),
        Class::Controls if writable && is_harmless_control(sql) => Ok(()),
        Class::Writes | Class::WritesGlobally => Err(Failure::new(
            code::READONLY,
            "only reading statements are admitted with this token or method. (READONLY)",
        )),
        Class::Controls => Err(Failure::new(
            code::ACCESS_DENIED,
            "statements that reach files or the process are not admitted. (ACCESS_DENIED)",
        )),
        Class::Unknown => {
            Err(Failure::new(code::SYNTAX_ERROR, "the statement does not parse. (SYNTAX_ERROR)"))
        }
    }
}

/// Statements about the session or the process that grants and profile bound well enough. The engine counts an INSERT
/// that merely names `async_insert` among them, and one into a table function, which may be a file.
fn is_harmless_control(sql: &str) -> bool {
    let mut words = tokens(sql).map(|token| token.text);
    let first = words.next().unwrap_or_default();
    is_any(first, &["kill", "set", "use", "system"])
        || (is_any(first, &["insert"]) && !words.take(3).any(|word| is_any(word, &["function"])))
}

/// Text as a string literal.
pub(crate) fn quote_literal(text: &str) -> String {
    quote(text, '\'')
}

/// Text as a quoted identifier.
pub(crate) fn quote_name(text: &str) -> String {
    quote(text, '`')
}

fn quote(text: &str, mark: char) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(mark);
    for character in text.chars() {
        if character == mark || character == '\\' {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push(mark);
    quoted
}

fn is_any(word: &str, words: &[&str]) -> bool {
    words.iter().any(|candidate| word.eq_ignore_ascii_case(candidate))
}

/// Cuts an INSERT at its data. One without FORMAT or VALUES (INSERT … SELECT) is a command.
fn read_insert(sql: &str) -> Result<Statement<'_>, Failure> {
    let mut depth = 0usize;
    let mut previous = "";
    let mut stream = tokens(sql).skip(1).peekable();
    while let Some(token) = stream.next() {
        match token.text {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            // The table's own name, which follows INTO, TABLE or a dot, may be any word.
            _ if depth > 0 || is_any(previous, &["into", "table", "."]) => {}
            word if is_any(word, &["infile", "outfile"]) => return Err(file_refusal(word)),
            word if is_any(word, &["select", "with"]) => break,
            word if word.eq_ignore_ascii_case("values") => {
                return Ok(insert(sql, &token, "Values", token.end));
            }
            word if word.eq_ignore_ascii_case("format") => {
                if let Some(format) = stream.next_if(Token::is_word) {
                    return Ok(insert(sql, &token, format.text, format.end));
                }
            }
            _ => {}
        }
        previous = token.text;
    }
    refuse_files(sql)?;
    Ok(Statement::Command { reads: false })
}

fn insert<'sql>(sql: &'sql str, marker: &Token<'_>, format: &'sql str, data: usize) -> Statement<'sql> {
    let inline = sql[data..].trim_start();
    let inline = if inline.trim_end() == ";" { "" } else { inline };
    Statement::Insert { head: sql[..marker.start].trim_end(), format, inline }
}

/// The format at the end of a SELECT: `FORMAT name`, with nothing or SETTINGS after it.
fn trailing_format(sql: &str) -> Option<&str> {
    let (mut found, mut previous) = (None, "");
    let mut stream = tokens(sql).peekable();
    while let Some(token) = stream.next() {
        let last =
            stream.peek().is_none_or(|next| next.is(b';') || next.text.eq_ignore_ascii_case("settings"));
        if last && token.is_word() && previous.eq_ignore_ascii_case("format") {
            found = Some(token.text);
        }
        previous = token.text;
    }
    found
}

fn refuse_files(sql: &str) -> Result<(), Failure> {
    match tokens(sql).find(|token| is_any(token.text, &["infile", "outfile"])) {
        Some(token) => Err(file_refusal(token.text)),
        None => Ok(()),
    }
}

fn file_refusal(word: &str) -> Failure {
    Failure::new(
        code::ACCESS_DENIED,
        format!(
            "{word} is not admitted: send data in the request body and read it from the answer. (ACCESS_DENIED)"
        ),
    )
}

#[cfg(test)]
mod tests;
