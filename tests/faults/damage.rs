//! Damaged files: a clear message, and the rest intact.
