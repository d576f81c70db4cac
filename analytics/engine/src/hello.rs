//! The first question of clickhouse-go, and its answer.
//!
//! The driver decodes this one answer at its own protocol revision and every later block at the revision told here.
//! Revision 0 makes it read plain Native, which is what the engine writes. Pure.

/// The driver's question, letter for letter (clickhouse-go 2.50, `queryHello`).
const QUESTION: &str = "SELECT displayName(), version(), revision(), timezone()";

/// Whether this is the driver's first question.
pub(crate) fn asks(sql: &str, format: &str, client_revision: u64) -> bool {
    client_revision > 0 && format == "Native" && sql.trim() == QUESTION
}

/// One Native block of one row at a client's current revision: block info, counts, then for each column its name, type, a
/// flag for custom serialisation (none) and its value.
pub(crate) fn answer(version: &str) -> Vec<u8> {
    // Field 1: not an overflow block. Field 2: bucket -1. Then the end of the info.
    let mut block = vec![1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0];
    block.extend_from_slice(&[4, 1]);
    for (name, value) in [("displayName()", "turnpike"), ("version()", version)] {
        column(&mut block, name, "String");
        string(&mut block, value);
    }
    column(&mut block, "revision()", "UInt32");
    block.extend_from_slice(&0u32.to_le_bytes());
    column(&mut block, "timezone()", "String");
    string(&mut block, "UTC");
    block
}

fn column(block: &mut Vec<u8>, name: &str, kind: &str) {
    string(block, name);
    string(block, kind);
    block.push(0);
}

/// A short string: one length byte below 128, then the bytes.
fn string(block: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(127)];
    block.push(text.len() as u8);
    block.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_drivers_question_is_answered() {
        assert!(asks(QUESTION, "Native", 54_460));
        assert!(!asks(QUESTION, "Native", 0) && !asks(QUESTION, "JSON", 1) && !asks("SELECT 1", "Native", 1));
        let block = answer("26.7.2.1");
        assert_eq!(&block[..10], &[1, 0, 2, 255, 255, 255, 255, 0, 4, 1]);
        assert!(block.ends_with(b"\x0atimezone()\x06String\x00\x03UTC"));
    }
}
