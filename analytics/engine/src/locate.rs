//! Finds the engine's library on this machine.
//!
//! In: an explicit path or the environment. Out: a path that exists, or an error that names the cure. Never downloads:
//! `fetch.sh` beside this crate does.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The engine version that `npm/package.json` pins and `fetch.sh` installs.
pub const ENGINE_VERSION: &str = "26.7.3-stable.1";

const LIBRARY: &str = "libchdb.so";

/// No library was found.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// A path was named and nothing is there.
    #[error(
        "{named_by} names {path}, which is not a file: correct it, or leave it out and run `make engine`"
    )]
    Named {
        /// What named the path: the option or the environment variable.
        named_by: &'static str,
        /// The path as named.
        path: PathBuf,
    },
    /// Nothing was named and the cache folder holds no library.
    #[error(
        "the embedded ClickHouse engine {ENGINE_VERSION} is not at {path}: run `make engine` to fetch it"
    )]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Neither a cache folder nor a home folder is set.
    #[error(
        "neither TURNPIKE_ENGINE_LIB, TURNPIKE_ENGINE_DIR, XDG_CACHE_HOME nor HOME is set: name the engine's library with --engine-lib"
    )]
    NoHome,
}

/// Finds the library: `named` (the option `--engine-lib`), then `TURNPIKE_ENGINE_LIB`, then the folder `fetch.sh` fills.
pub fn locate(named: Option<&Path>) -> Result<PathBuf, LocateError> {
    if let Some(path) = named {
        return existing("the option --engine-lib", path.into());
    }
    if let Some(path) = variable("TURNPIKE_ENGINE_LIB") {
        return existing("the variable TURNPIKE_ENGINE_LIB", path.into());
    }
    let path = default_library().ok_or(LocateError::NoHome)?;
    if path.is_file() { Ok(path) } else { Err(LocateError::Absent { path }) }
}

/// Where `fetch.sh` puts the library in this environment, whether or not it is there. `None` without a home folder.
pub fn default_library() -> Option<PathBuf> {
    if let Some(folder) = variable("TURNPIKE_ENGINE_DIR") {
        return Some(Path::new(&folder).join(LIBRARY));
    }
    let cache = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache")))?;
    Some(cache.join("turnpike/engine").join(ENGINE_VERSION).join(LIBRARY))
}

fn existing(named_by: &'static str, path: PathBuf) -> Result<PathBuf, LocateError> {
    if path.is_file() { Ok(path) } else { Err(LocateError::Named { named_by, path }) }
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_the_pinned_one() {
        let manifest = include_str!("../npm/package.json");
        assert!(manifest.contains(&format!("\"@chdb/lib-linux-x64-gnu\": \"{ENGINE_VERSION}\"")));
        let lock = include_str!("../npm/package-lock.json");
        assert!(
            lock.contains(&format!("\"version\": \"{ENGINE_VERSION}\""))
                && lock.contains("\"integrity\": \"sha512-")
        );
        assert!(!lock.contains("://"), "the lock file names no host");
    }

    #[test]
    fn a_named_path_that_is_absent_is_an_error_with_its_cure() {
        let error = locate(Some(Path::new("/nowhere/libchdb.so"))).unwrap_err().to_string();
        assert!(error.contains("--engine-lib") && error.contains("make engine"), "{error}");
    }
}
