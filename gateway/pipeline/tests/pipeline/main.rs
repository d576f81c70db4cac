//! The pipeline as the shell drives it: snapshots built in place, one request at a time.

mod admission;
mod answers;
mod callers;
mod explain;
mod hostile;
mod matching;
mod property;
mod rewriting;
mod support;
