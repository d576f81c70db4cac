//! Header edits of filters, parsed once.
//!
//! In: names and values of the configuration. Out: `http` names and values, applied to a sink in the order
//! of the specification (set, add, remove). An invalid name or value is a finding, never a lost edit.

use gateway_snapshot::HeaderEdit;
use http::{HeaderName, HeaderValue};

use crate::head::HeaderSink;

#[derive(Default)]
pub(crate) struct Edits {
    steps: Vec<Step>,
}

enum Step {
    Set(HeaderName, HeaderValue),
    Add(HeaderName, HeaderValue),
    Remove(HeaderName),
}

impl Edits {
    /// Adds the steps of one filter behind those of the filters before it.
    pub(crate) fn extend(&mut self, edit: &HeaderEdit) -> Result<(), String> {
        for (field, value) in &edit.set {
            self.steps.push(Step::Set(name(field)?, value_of(value)?));
        }
        for (field, value) in &edit.add {
            self.steps.push(Step::Add(name(field)?, value_of(value)?));
        }
        for field in &edit.remove {
            self.steps.push(Step::Remove(name(field)?));
        }
        Ok(())
    }

    pub(crate) fn apply(&self, sink: &mut dyn HeaderSink) {
        for step in &self.steps {
            match step {
                Step::Set(name, value) => sink.set(name, value.as_bytes()),
                Step::Add(name, value) => sink.append(name, value.as_bytes()),
                Step::Remove(name) => sink.remove(name),
            }
        }
    }
}

/// A header field name.
pub(crate) fn name(text: &str) -> Result<HeaderName, String> {
    HeaderName::try_from(text).map_err(|_| format!("header name {text:?} is not valid"))
}

/// A header field value.
pub(crate) fn value_of(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::try_from(text).map_err(|_| format!("header value {text:?} is not valid"))
}
