//! Keeps this process's hands off everything but its data folder, by Landlock (Linux 5.13 and later).
//!
//! In: the options of the engine process. Out: the calling thread, and every thread that it starts from then on, reads
//! and writes the data folder, reads the engine's library and what the C library needs, and opens no TCP connection.
//! Grants alone are not enough: the engine's function `file` needs none in an embedded engine, and formats read
//! templates from paths in settings. Must be called before the process has other threads.

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus,
};

use crate::locate::locate;
use crate::options::Options;
use crate::run::Error;

/// The newest rights that are asked for; an older kernel enforces those that it knows.
const RIGHTS: ABI = ABI::V4;
/// Public folders: shared libraries, locales, time zones, the machine's shape.
const FOLDERS: &[&str] =
    &["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/locale", "/usr/share/zoneinfo", "/sys"];
/// Public files. Of `/proc` only what holds no secret: `environ` holds the token.
const FILES: &[&str] = &[
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/self/auxv",
    "/proc/self/cgroup",
    "/proc/self/limits",
    "/proc/self/loginuid",
    "/proc/self/maps",
    "/proc/self/mounts",
    "/proc/self/stat",
    "/proc/self/statm",
    "/proc/self/status",
    "/proc/stat",
    "/proc/uptime",
];

/// Confines the calling thread and all that it starts. `false`: this kernel cannot, which is logged as well.
///
/// # Errors
/// The library is not there, the data folder cannot be made, or the kernel refuses the rules.
pub fn confine(options: &Options) -> Result<bool, Error> {
    let library = locate(options.lib.as_deref())?;
    fs::create_dir_all(&options.path).map_err(|source| {
        let path = options.path.display();
        Error::Folder(format!("data folder {path} cannot be made: {source}; check its parent's permissions"))
    })?;
    let enforced = restrict(&options.path, &library).map_err(|error| Error::Confine(error.to_string()))?;
    if !enforced {
        tracing::warn!(
            "this kernel has no Landlock: statements can read every file that the engine's user can read; give tokens \
             to nobody else"
        );
    }
    Ok(enforced)
}

fn restrict(data: &Path, library: &Path) -> Result<bool, RulesetError> {
    let all = AccessFs::from_all(RIGHTS);
    let mut rules = Ruleset::default().handle_access(all)?.handle_access(AccessNet::ConnectTcp)?.create()?;
    rules = allow(rules, data, all)?;
    rules = allow(rules, Path::new("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile)?;
    for folder in FOLDERS {
        rules = allow(rules, Path::new(folder), AccessFs::ReadFile | AccessFs::ReadDir)?;
    }
    // The engine reads its own symbols for stack traces.
    let own = [Some(library.to_path_buf()), std::env::current_exe().ok()];
    for file in own.into_iter().flatten().chain(FILES.iter().map(PathBuf::from)) {
        rules = allow(rules, &file, AccessFs::ReadFile.into())?;
    }
    Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

/// Allows `rights` on a path, if it exists.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(path) => rules.add_rule(PathBeneath::new(path, rights)),
        Err(_) => Ok(rules),
    }
}
