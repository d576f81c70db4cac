//! Regular expressions: linear time, bounded in size, over the whole value.

use gateway_snapshot::regex_of;

use super::{Wrong, shown};

/// Longest expression in a match (Gateway API's own limit for paths).
const MAX: usize = 1024;

/// An expression that the gateway can compile within its bounds.
pub(crate) fn pattern(text: &str) -> Result<String, Wrong> {
    if text.len() > MAX {
        return Err(Wrong(format!("is {} bytes long; a regular expression has at most {MAX}", text.len())));
    }
    compiled(text)
}

/// The same for an expression that was put together from checked parts, however long.
pub(crate) fn compiled(text: &str) -> Result<String, Wrong> {
    match regex_of(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(regex::Error::CompiledTooBig(limit)) => Err(Wrong(format!(
            "{} needs more than {limit} bytes when compiled; use fewer or smaller repetitions",
            shown(text)
        ))),
        Err(error) => Err(Wrong(format!(
            "{} is not a regular expression ({}); see the syntax of RE2 (no look-around, no back references)",
            shown(text),
            last_line(&error.to_string())
        ))),
    }
}

// The crate's message draws the expression over several lines; the reason stands on the last.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or_default();
    line.trim().trim_start_matches("error: ").to_owned()
}
