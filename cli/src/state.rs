//! The state folder of `turnpike up`: where its parts keep their files, and how other commands find it.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// Default folder, below the one that a command is run in.
pub(crate) const DEFAULT: &str = ".turnpike";

/// Paths below a state folder.
#[derive(Debug, Clone)]
pub(crate) struct State {
    root: PathBuf,
}

/// Addresses and the folder of a running `turnpike up`, for other commands.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunInfo {
    /// Process id of `up`.
    pub(crate) pid: u32,
    /// Folder of resources.
    pub(crate) resources: PathBuf,
    /// Base URL of analytics.
    pub(crate) analytics: String,
    /// Base URL of the gateway's admin endpoint.
    pub(crate) admin: String,
    /// Base URL of the engine.
    pub(crate) engine: String,
}

impl State {
    /// Makes the folder, readable by its owner alone: it holds keys, tokens and usage.
    pub(crate) fn create(root: &Path) -> anyhow::Result<Self> {
        for folder in [root.to_path_buf(), root.join("log"), root.join("gateway"), root.join("analytics")] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .with_context(|| format!("cannot make the state folder {}", folder.display()))?;
        }
        Ok(Self { root: fs::canonicalize(root)? })
    }

    /// Opens the folder of a `turnpike up` that ran or runs.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        if !root.is_dir() {
            bail!(
                "there is no state folder {}: run this where `turnpike up` runs, or name its folder with --state",
                root.display()
            );
        }
        Ok(Self { root: fs::canonicalize(root)? })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The token that parts and commands show each other; made at the first call.
    pub(crate) fn token(&self) -> anyhow::Result<String> {
        let path = self.path("token");
        if let Ok(token) = fs::read_to_string(&path) {
            return Ok(token.trim().to_owned());
        }
        let bytes: [u8; 32] = rand::random();
        let token = hex(&bytes);
        write_private(&path, token.as_bytes())?;
        Ok(token)
    }

    /// Says where everything is.
    pub(crate) fn write_run_info(&self, info: &RunInfo) -> anyhow::Result<()> {
        write_private(&self.path("run.json"), &serde_json::to_vec_pretty(info)?)
    }

    /// Where everything is, if it ran here.
    pub(crate) fn run_info(&self) -> anyhow::Result<RunInfo> {
        let path = self.path("run.json");
        let text = fs::read(&path).with_context(|| {
            format!("{} is missing: no `turnpike up` has run with this state folder", path.display())
        })?;
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged; delete it", path.display()))
    }

    /// Takes the folder for one process.
    ///
    /// # Errors
    /// When another `turnpike up` holds it.
    pub(crate) fn lock(&self) -> anyhow::Result<fs::File> {
        let path = self.path("lock");
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => bail!(
                "another `turnpike up` uses the state folder {}: stop it, or give this one a folder of its own \
                 with --state",
                self.root.display()
            ),
            Err(fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes a file that only its owner can read, in one step: readers see the old or the new content.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let parent = path.parent().context("a file needs a folder")?;
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .tempfile_in(parent)
        .with_context(|| format!("cannot write in {}", parent.display()))?;
    file.write_all(content)?;
    file.as_file().sync_data()?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
