//! Tells the documents of a YAML file apart by their separators, before anything is parsed.
//!
//! Neither `---` nor `...` can stand at the start of a line within a document (YAML 1.2, 9.1), so that a broken
//! document ends where the next one begins.

use super::{Diagnostic, Severity, limits};

/// A part of a file that holds one document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Document<'a> {
    /// Name of the file.
    pub file: &'a str,
    /// The document with its separator.
    pub text: &'a str,
    /// Lines of the file before it.
    pub lines_before: u32,
}

/// The documents of a file. What is over a limit is reported and left out.
pub(super) fn split<'a>(file: &'a str, text: &'a str, problems: &mut Vec<Diagnostic>) -> Vec<Document<'a>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > limits::FILE_BYTES {
        problems.push(too_large(file, 0, "the file", text.len(), limits::FILE_BYTES));
        return Vec::new();
    }
    let mut documents = parts(file, text);
    if documents.len() > limits::DOCUMENTS {
        let line = documents[limits::DOCUMENTS].lines_before + 1;
        let problem = format!("more than {} documents in one file", limits::DOCUMENTS);
        problems.push(whole(file, line, problem, "split the file"));
        documents.truncate(limits::DOCUMENTS);
    }
    documents.retain(|document| {
        let fits = document.text.len() <= limits::DOCUMENT_BYTES;
        if !fits {
            let (line, size) = (document.lines_before + 1, document.text.len());
            problems.push(too_large(file, line, "the document", size, limits::DOCUMENT_BYTES));
        }
        fits
    });
    documents
}

fn parts<'a>(file: &'a str, text: &'a str) -> Vec<Document<'a>> {
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut blank) = (0, 0, true);
    let (mut position, mut line) = (0, 0);
    let mut close = |start: usize, end: usize, lines_before: u32, blank: bool| {
        if !blank {
            documents.push(Document { file, text: &text[start..end], lines_before });
        }
    };
    for row in text.split_inclusive('\n') {
        let after = position + row.len();
        if is_marker(row, "---") && !blank {
            close(start, position, start_line, blank);
            (start, start_line, blank) = (position, line, true);
        }
        if is_marker(row, "...") {
            close(start, after, start_line, blank);
            (start, start_line, blank) = (after, line + 1, true);
        } else {
            blank = blank && is_blank(row);
        }
        position = after;
        line += 1;
    }
    close(start, position, start_line, blank);
    documents
}

fn is_marker(row: &str, marker: &str) -> bool {
    row.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Whether a line has no content of a document: white space, comments, directives and bare separators.
fn is_blank(row: &str) -> bool {
    let content = if is_marker(row, "---") { &row[3..] } else { row };
    let content = content.trim();
    content.is_empty() || content.starts_with('#') || row.starts_with('%')
}

fn too_large(file: &str, line: u32, what: &str, size: usize, limit: usize) -> Diagnostic {
    whole(file, line, format!("{what} has {size} bytes, more than {limit}"), "split it")
}

fn whole(file: &str, line: u32, problem: String, cure: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        file: file.to_owned(),
        line,
        column: 0,
        object: None,
        field: None,
        problem,
        cure: cure.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_apart_by_their_separators() {
        let table: [(&str, &[(&str, u32)]); 8] = [
            ("", &[]),
            ("# only a comment\n---\n---\n", &[]),
            ("a: 1", &[("a: 1", 0)]),
            ("a: 1\n---\nb: 2\n", &[("a: 1\n", 0), ("---\nb: 2\n", 1)]),
            ("---\na: 1\n--- # next\nb: 2", &[("---\na: 1\n", 0), ("--- # next\nb: 2", 2)]),
            ("a: 1\n...\nb: 2\n", &[("a: 1\n...\n", 0), ("b: 2\n", 2)]),
            ("a: |\n  ---\n ---x\nb: ---\n", &[("a: |\n  ---\n ---x\nb: ---\n", 0)]),
            ("%YAML 1.2\n---\na: 1\n", &[("%YAML 1.2\n---\na: 1\n", 0)]),
        ];
        for (text, expected) in table {
            let mut problems = Vec::new();
            let found: Vec<_> =
                split("f", text, &mut problems).iter().map(|part| (part.text, part.lines_before)).collect();
            assert_eq!(found, expected, "{text:?}");
            assert_eq!(problems, []);
        }
    }

    #[test]
    fn what_is_too_large_is_reported_and_the_rest_stays() {
        let mut problems = Vec::new();
        let long = format!("a: 1\n---\nb: {}\n---\nc: 3\n", "x".repeat(limits::DOCUMENT_BYTES));
        assert_eq!(split("f", &long, &mut problems).len(), 2);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].line, 2);

        let many = "---\na\n".repeat(limits::DOCUMENTS + 1);
        assert_eq!(split("f", &many, &mut problems).len(), limits::DOCUMENTS);
        assert_eq!(problems.len(), 2);
    }
}
