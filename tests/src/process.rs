//! The processes of a `turnpike up`, found as the system knows them.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A child of `turnpike up`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `turnpike gateway`.
    Gateway,
    /// `turnpike analytics`.
    Analytics,
    /// `turnpike engine`.
    Engine,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Analytics, Self::Engine];

    /// Its subcommand.
    pub fn command(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Analytics => "analytics",
            Self::Engine => "engine",
        }
    }

    /// Its process id now, if it runs.
    pub fn pid(self, parent: u32) -> Option<u32> {
        children(parent).into_iter().find(|pid| subcommand(*pid).as_deref() == Some(self.command()))
    }
}

/// Children of `parent`.
fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name in parentheses may hold anything; what follows the last one does not.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" { None } else { fields.next()?.parse().ok() }
}

fn subcommand(pid: u32) -> Option<String> {
    let line = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).ok()?;
    String::from_utf8(line.split(|byte| *byte == 0).nth(1)?.to_vec()).ok()
}

/// A process that is stopped, and goes on when this is dropped.
#[derive(Debug)]
pub struct Frozen(u32);

impl Frozen {
    /// Stops a process.
    pub fn new(pid: u32) -> Self {
        kill(pid, "STOP");
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        kill(self.0, "CONT");
    }
}

/// Sends `signal` (such as `KILL`) to a process of this test.
pub fn kill(pid: u32, signal: &str) {
    // It may have ended by itself meanwhile: then there is nothing to do.
    let _ = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).output();
}
