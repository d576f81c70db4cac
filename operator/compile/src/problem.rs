//! A user's mistake on its way to a status condition.

use std::fmt::Display;

use crds::conditions::Reason;

use crate::check::Wrong;
use crate::field::Field;

/// What is wrong, in one of the closed reasons, and where and how to cure it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl Problem {
    /// `field: what`.
    pub(crate) fn at(reason: Reason, field: &Field<'_>, what: impl Display) -> Self {
        Self { reason, message: format!("{field}: {what}") }
    }

    /// A value that this field cannot have.
    pub(crate) fn value(field: &Field<'_>, what: impl Display) -> Self {
        Self::at(Reason::UnsupportedValue, field, what)
    }

    /// A mistake in a kind whose only word for it is `Invalid`.
    pub(crate) fn invalid(field: &Field<'_>, what: impl Display) -> Self {
        Self::at(Reason::Invalid, field, what)
    }

    /// The same for reason `Invalid`.
    pub(crate) fn into_invalid(self) -> Self {
        Self { reason: Reason::Invalid, ..self }
    }
}

/// Says where a wrong value stands.
pub(crate) trait InField<T> {
    /// The value, or a problem of reason `UnsupportedValue` at `field`.
    fn at(self, field: &Field<'_>) -> Result<T, Problem>;
}

impl<T> InField<T> for Result<T, Wrong> {
    fn at(self, field: &Field<'_>) -> Result<T, Problem> {
        self.map_err(|wrong| Problem::value(field, wrong))
    }
}

/// All messages in one line, for a condition.
pub(crate) fn joined(problems: &[Problem]) -> String {
    let mut messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    messages.dedup();
    messages.join("; ")
}
