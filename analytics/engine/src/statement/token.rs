//! Splits SQL text into tokens, skipping blanks and comments.
//!
//! In: any text. Out: words, quoted pieces and single marks, each a slice of the text. Follows ClickHouse's lexer for
//! strings, quoted names, here-documents and comments; whatever else comes is a mark of one character. Never panics.

/// One token: a slice of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'sql> {
    pub(super) text: &'sql str,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Token<'_> {
    /// Whether this is the given mark.
    pub(super) fn is(&self, mark: u8) -> bool {
        self.text.as_bytes() == [mark]
    }

    /// Whether this is an unquoted word.
    pub(super) fn is_word(&self) -> bool {
        self.text.bytes().next().is_some_and(is_word_byte)
    }
}

/// The tokens of a text, in order.
pub(super) fn tokens(sql: &str) -> impl Iterator<Item = Token<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at = skip_blank(sql, at);
        let start = at;
        let rest = &sql[start..];
        let length = token_length(rest)?;
        at = start + length;
        Some(Token { text: &rest[..length], start, end: at })
    })
}

fn skip_blank(sql: &str, mut at: usize) -> usize {
    loop {
        let rest = &sql[at..];
        let blank = rest.len() - rest.trim_start().len();
        let rest = &rest[blank..];
        let comment = if rest.starts_with("--") || rest.starts_with("# ") || rest.starts_with("#!") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else {
            0
        };
        if blank + comment == 0 {
            return at;
        }
        at += blank + comment;
    }
}

/// Length of the token at the start of the text, or `None` at its end.
fn token_length(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    Some(match first {
        '\'' | '"' | '`' => quoted_length(text, first as u8),
        '$' => heredoc_length(text).unwrap_or(1),
        _ if text.as_bytes().first().copied().is_some_and(is_word_byte) => {
            text.bytes().position(|byte| !is_word_byte(byte) && byte != b'$').unwrap_or(text.len())
        }
        _ => first.len_utf8(),
    })
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Length of a quoted piece with both marks; a backslash and a doubled mark keep it open.
fn quoted_length(text: &str, mark: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == mark && bytes.get(at + 1) == Some(&mark) => at += 2,
            byte if byte == mark => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Length of `$tag$ … $tag$`, when the text starts with one.
fn heredoc_length(text: &str) -> Option<usize> {
    let tag = text[1..].bytes().position(|byte| byte == b'$')? + 2;
    let mark = &text[..tag];
    if !mark[1..tag - 1].bytes().all(is_word_byte) {
        return None;
    }
    Some(tag + text[tag..].find(mark)? + tag)
}
