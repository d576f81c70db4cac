//! The booted engine: opens sessions, ends running statements, stops.
//!
//! In: library, data folder, limits. Out: a session per request, so that settings and temporary tables of one request
//! never reach another (opening one takes about 0.1 ms). A control session stays open: it keeps the engine booted and
//! carries KILL QUERY. Blocks; call from blocking threads.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::config;
use crate::failure::{Failure, code};
use crate::ffi::{Connection, Engine, LoadError};
use crate::options::Limits;
use crate::statement::{quote_literal, quote_name};

/// The engine could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("data folder {path} cannot be written: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "the engine does not open {path}: the folder is damaged, of a newer version, or held by a process of another kind"
    )]
    Refused { path: PathBuf },
    #[error("the engine opened {path} but does not answer: {failure}")]
    Mute { path: PathBuf, failure: Failure },
}

/// The booted engine.
pub(crate) struct Store {
    engine: &'static Engine,
    arguments: Vec<CString>,
    control: Mutex<Option<Connection>>,
    version: String,
}

impl Store {
    /// Loads the library and opens the data folder.
    pub(crate) fn boot(library: &Path, folder: &Path, limits: &Limits) -> Result<Self, BootError> {
        let io = |source| BootError::Io { path: folder.into(), source };
        let folder = folder.canonicalize().map_err(io)?;
        let config = config::write(&folder, limits).map_err(io)?;
        let argument = |text: String| CString::new(text).map_err(|error| io(error.into()));
        let arguments = vec![
            c"chdb".to_owned(),
            argument(format!("--path={}", folder.join("clickhouse").display()))?,
            argument(format!("--config-file={}", config.display()))?,
        ];
        let engine = Engine::load(library)?;
        let mut control =
            engine.connect(&arguments).ok_or_else(|| BootError::Refused { path: folder.clone() })?;
        let (version, _) = control
            .query("SELECT version()", "TSVRaw", &[])
            .map_err(|failure| BootError::Mute { path: folder.clone(), failure })?;
        let version = String::from_utf8_lossy(&version).trim().to_owned();
        Ok(Self { engine, arguments, control: Mutex::new(Some(control)), version })
    }

    /// ClickHouse's version, such as `26.7.2.1`.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Opens a session with these settings in this database. `tag` names it for [`Store::kill`].
    pub(crate) fn session(
        &self,
        tag: &str,
        settings: &[(String, String)],
        database: Option<&str>,
    ) -> Result<Connection, Failure> {
        let mut connection = self.engine.connect(&self.arguments).ok_or_else(|| {
            Failure::new(code::LOGICAL_ERROR, "the engine opens no session. (LOGICAL_ERROR)")
        })?;
        let mut sql = format!("SET log_comment = {}", quote_literal(tag));
        for (name, value) in settings {
            sql.extend([", ", name, " = ", &quote_literal(value)]);
        }
        connection.query(&sql, "Null", &[])?;
        if let Some(database) = database {
            connection.query(&format!("USE {}", quote_name(database)), "Null", &[])?;
        }
        Ok(connection)
    }

    /// Asks the engine to end the statement of a session. Finding none is no failure: it may have ended by itself.
    pub(crate) fn kill(&self, tag: &str) -> Result<(), Failure> {
        self.kill_where(&format!("= {}", quote_literal(tag)))
    }

    /// Asks the engine to end the statements of all sessions.
    pub(crate) fn kill_all(&self) -> Result<(), Failure> {
        self.kill_where("!= ''")
    }

    fn kill_where(&self, comment: &str) -> Result<(), Failure> {
        let sql = format!("KILL QUERY WHERE Settings['log_comment'] {comment} ASYNC");
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        match control.as_mut() {
            Some(control) => control.query(&sql, "Null", &[]).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Closes the control session and stops the engine. `false` when other sessions are still open.
    pub(crate) fn stop(&self) -> bool {
        self.control.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.engine.shutdown()
    }
}
