//! How much of outside text is read. What is over a limit is reported, never cut silently.

/// Bytes of one file.
pub const FILE_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of one document; an API server takes about as much.
pub const DOCUMENT_BYTES: usize = 3 * 1024 * 1024;

/// Documents of one file.
pub const DOCUMENTS: usize = 20_000;

/// Levels of lists and maps in a document. The deepest field of any kind has 14; parsing takes up to 40 KiB of
/// stack for each level in a debug build.
pub const DEPTH: usize = 32;

/// Lists, maps and scalars in a document.
pub const NODES: usize = 250_000;

/// Lists, maps and scalars that aliases may add to a document.
pub const ALIASED_NODES: usize = 100_000;

/// Problems reported for one object; more of them only bury the first.
pub const PROBLEMS: usize = 20;
