//! Which records a question is about.
//!
//! In: a window and the values wanted for each dimension. Out: the WHERE clause.

use std::collections::BTreeMap;

use crate::{Dimension, Statement, Value, Window};

/// Most values that one question may name, over all dimensions.
pub const MAX_FILTER_VALUES: usize = 1_000;

/// Too many values in one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_FILTER_VALUES} filter values; ask in several requests or group by the dimension")]
pub struct TooManyValues;

/// Values wanted: any of the values of a dimension, for all dimensions named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters {
    wanted: BTreeMap<Dimension, Vec<String>>,
    count: usize,
}

impl Filters {
    /// Admits `value` in `dimension`.
    pub fn add(&mut self, dimension: Dimension, value: impl Into<String>) -> Result<(), TooManyValues> {
        if self.count == MAX_FILTER_VALUES {
            return Err(TooManyValues);
        }
        let values = self.wanted.entry(dimension).or_default();
        let value = value.into();
        if let Err(place) = values.binary_search(&value) {
            values.insert(place, value);
            self.count += 1;
        }
        Ok(())
    }

    /// Dimension names with the values wanted, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (Dimension, &[String])> {
        self.wanted.iter().map(|(dimension, values)| (*dimension, values.as_slice()))
    }

    /// The values wanted of one dimension, if any are.
    pub fn of(&self, dimension: Dimension) -> Option<&[String]> {
        self.wanted.get(&dimension).map(Vec::as_slice)
    }

    pub(crate) fn write(&self, statement: &mut Statement) {
        for (dimension, values) in self.iter() {
            let values = values.to_vec();
            statement.push("\n  AND has(").value(Value::Texts(values)).push(", ");
            statement.push(dimension.sql_text()).push(")");
        }
    }
}

/// Writes `WHERE` for the records that ended in `window` and pass `filters`. The time column is named with its table
/// `r`, because some questions show it under its own name as text.
pub(crate) fn write_where(statement: &mut Statement, window: Window, filters: &Filters) {
    statement
        .push("WHERE r.ts >= fromUnixTimestamp64Micro(")
        .value(Value::Micros(window.from.as_microsecond()));
    statement.push(") AND r.ts < fromUnixTimestamp64Micro(").value(Value::Micros(window.to.as_microsecond()));
    statement.push(")");
    filters.write(statement);
}
