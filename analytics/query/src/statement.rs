//! A question in SQL, with its values kept out of the text.
//!
//! In: pieces of SQL that this crate wrote itself and values that came from outside. Out: one statement whose
//! values stand as ClickHouse query parameters (`{name:Type}`).
//! A value from outside never becomes part of the text.

use std::fmt::Write as _;

/// A value of a query parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `String`.
    Text(String),
    /// `Array(String)`.
    Texts(Vec<String>),
    /// `UInt64`.
    Number(u64),
    /// `Array(UInt64)`.
    Numbers(Vec<u64>),
    /// `Int64`: microseconds since 1970.
    Micros(i64),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "String",
            Self::Texts(_) => "Array(String)",
            Self::Number(_) => "UInt64",
            Self::Numbers(_) => "Array(UInt64)",
            Self::Micros(_) => "Int64",
        }
    }
}

/// One SQL statement and the values of its parameters, in the order of their names `p0`, `p1`, …
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statement {
    sql: String,
    values: Vec<Value>,
}

impl Statement {
    /// A statement without values, written by this project.
    pub fn plain(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), values: Vec::new() }
    }

    /// An empty statement.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The text, with `{p0:String}` where values belong.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Name and value of each parameter.
    pub fn values(&self) -> impl Iterator<Item = (String, &Value)> {
        self.values.iter().enumerate().map(|(index, value)| (format!("p{index}"), value))
    }

    /// Adds text that this crate wrote itself.
    pub(crate) fn push(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds a value.
    pub(crate) fn value(&mut self, value: Value) -> &mut Self {
        let (index, kind) = (self.values.len(), value.kind());
        write!(self.sql, "{{p{index}:{kind}}}").expect("writing to a string does not fail");
        self.values.push(value);
        self
    }
}

impl std::fmt::Display for Statement {
    /// Text and values below each other, as golden files show them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sql)?;
        for (name, value) in self.values() {
            write!(f, "\n-- {name} = {value:?}")?;
        }
        Ok(())
    }
}
