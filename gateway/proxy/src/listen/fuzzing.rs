//! A connection's bytes through the strict head check and the body gate, as `accept` drives them, without sockets.

use super::body::Gate;
use super::frames::StreamCounter;
use super::head::{Head, HeadLimits, HeadScanner, Sketch};

const LIMITS: HeadLimits = HeadLimits { fields: 32, bytes: 4096, target: 1024 };
/// Messages on one connection that are looked at.
const MESSAGES: usize = 16;

pub(crate) fn heads(bytes: &[u8], cut: usize) -> Vec<String> {
    let mut made = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() && made.len() < MESSAGES {
        match head(rest, cut) {
            Ok(Some(head)) => {
                let (length, end) = message(&head, rest, cut);
                made.push(format!("{head:?} {length} {end}"));
                // A message that is cut off or wrong is the connection's last.
                if end != "complete" {
                    return made;
                }
                rest = &rest[length..];
            }
            Ok(None) => return made,
            Err(fault) => {
                made.push(format!("{fault} {:?}", Sketch::of(rest)));
                return made;
            }
        }
    }
    made
}

fn head(bytes: &[u8], cut: usize) -> Result<Option<Head>, String> {
    let mut scanner = HeadScanner::default();
    let mut have = 0;
    while have < bytes.len() {
        have = (have + cut).min(bytes.len());
        // A long head without an end is refused as soon as it is too long, which depends on the cut.
        match scanner.scan(&bytes[..have], &LIMITS) {
            Ok(None) => {}
            Ok(head) => return Ok(head),
            Err(fault) => return Err(format!("{fault:?}")),
        }
    }
    Ok(None)
}

/// How many bytes belong to the message, and how it ends.
fn message(head: &Head, bytes: &[u8], cut: usize) -> (usize, &'static str) {
    let mut gate = Gate::for_message(head);
    let mut passed = 0;
    let mut have = 0;
    while !gate.is_complete() && have < bytes.len() {
        have = (have + cut).min(bytes.len());
        while !gate.is_complete() && passed < have {
            match gate.pass(&bytes[passed..have]) {
                Ok(0) => return (passed, "stuck"),
                Ok(count) => passed += count,
                Err(_) => return (passed, "violation"),
            }
        }
    }
    (passed, if gate.is_complete() { "complete" } else { "open" })
}

pub(crate) fn streams(bytes: &[u8], cut: usize) -> u64 {
    let mut counter = StreamCounter::default();
    bytes.chunks(cut).map(|piece| counter.opened(piece)).sum()
}
