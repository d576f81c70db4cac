//! Durations as Gateway API writes them (GEP-2257): up to four numbers with `h`, `m`, `s` or `ms`.

use super::{Wrong, shown};

/// Milliseconds of `text`, such as `1m30s`; not more than `max`.
pub(crate) fn duration_ms(text: &str, max: u64) -> Result<u64, Wrong> {
    match crds::parse_millis(text) {
        Some(ms) if ms <= max => Ok(ms),
        Some(_) => Err(Wrong(format!("{} is too long; at most {} s are allowed", shown(text), max / 1000))),
        None => Err(Wrong(format!(
            "{} is not a duration; write numbers with h, m, s or ms, such as `1m30s` or `500ms`",
            shown(text)
        ))),
    }
}
