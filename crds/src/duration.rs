//! Durations as Gateway API writes them (GEP-2257): `1h30m`, `500ms`.
//!
//! In: text of a resource. Out: milliseconds. Never a floating-point number, never a bare number.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// One to four groups of at most five digits and a unit (`h`, `m`, `s` or `ms`), such as `1m30s`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Duration(pub String);

impl Duration {
    /// What the schema accepts.
    pub const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

    /// Length in milliseconds; `None` when the text is not a duration.
    pub fn millis(&self) -> Option<u64> {
        parse_millis(&self.0)
    }
}

impl From<&str> for Duration {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Length of a GEP-2257 duration in milliseconds; `None` when `text` is not one.
///
/// Also for the standard kinds, whose durations are plain strings.
pub fn parse_millis(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=5).contains(&digits) {
            return None;
        }
        let (number, unit) = rest.split_at(digits);
        let letters = unit.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = unit.split_at(letters);
        let factor = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        total += number.parse::<u64>().ok()? * factor;
        rest = tail;
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 28, "pattern": Self::PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use super::parse_millis;

    #[test]
    fn reads_durations_of_gep_2257() {
        let table = [
            ("1h", Some(3_600_000)),
            ("0s", Some(0)),
            ("1m30s", Some(90_000)),
            ("1h1m1s1ms", Some(3_661_001)),
            ("99999h", Some(359_996_400_000)),
            ("10s10s", Some(20_000)),
            ("", None),
            ("5", None),
            ("1.5s", None),
            ("-1s", None),
            ("100000s", None),
            ("1s1s1s1s1s", None),
            ("1d", None),
            ("1s ", None),
            ("ms", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_millis(text), expected, "{text:?}");
        }
    }
}
