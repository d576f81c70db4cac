//! What is wrong with a file, where, and what to do about it.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The object is used all the same, or was not meant for us.
    Warning,
    /// The object is left out.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One problem of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// As given to [`super::read`].
    pub file: String,
    /// From 1; 0 when it concerns the whole file.
    pub line: u32,
    /// In characters, from 1; 0 when it concerns the whole line or file.
    pub column: u32,
    /// Kind and name, such as `HTTPRoute shop/orders`, as far as they could be read.
    pub object: Option<String>,
    /// Path of the field, such as `spec.rules[0].matches`.
    pub field: Option<String>,
    /// What is wrong, in lower case.
    pub problem: String,
    /// What to do about it, in lower case; may be empty when the problem says it all.
    pub cure: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        write!(f, ": {}: ", self.severity)?;
        for part in [&self.object, &self.field].into_iter().flatten() {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.problem)?;
        if self.cure.is_empty() { Ok(()) } else { write!(f, "; {}", self.cure) }
    }
}
