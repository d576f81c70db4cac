//! Reading: what is accepted, what is refused and with which words, and that nothing breaks the reader.

mod bad_input;
mod hostile;
mod kinds;
mod reading;

use super::{Diagnostic, Resources, read};

/// Reads one file by the name `f.yaml`.
fn read_one(text: &str) -> (Resources, Vec<Diagnostic>) {
    read(&[("f.yaml".to_owned(), text.to_owned())])
}

/// What is said about one file.
fn said(text: &str) -> Vec<String> {
    read_one(text).1.iter().map(ToString::to_string).collect()
}
