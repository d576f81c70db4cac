//! The lease protocol as a whole: authorities and holders against each other, through the public interface only.
#![expect(
    clippy::unwrap_used,
    reason = "all of this is test code, which the lint sees only in #[test] functions"
)]

mod simulation;
