//! The durable store of what must survive: quota rows, the outbox, the last facts of gateways.
//!
//! In: changes. Out: one synced transaction each; nothing is answered before it. One process holds the file.
//! Rows are JSON under their own names, so that a person can read them and a newer release can add fields.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gateway_quota::{Change, Row};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::alerts::Alert;

const QUOTA: TableDefinition<&str, &[u8]> = TableDefinition::new("quota");
const ALERTS: TableDefinition<&str, &[u8]> = TableDefinition::new("alerts");
const AUTHORITY: TableDefinition<&str, &[u8]> = TableDefinition::new("authority");
const CLEAN_STOP: TableDefinition<&str, &[u8]> = TableDefinition::new("clean_stop");
const INGEST: TableDefinition<&str, &[u8]> = TableDefinition::new("ingest");
const GATEWAYS: TableDefinition<&str, &[u8]> = TableDefinition::new("gateways");

/// Why the durable store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The folder cannot be made.
    #[error("folder {path} cannot be created: {error}; check its owner and the space left")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Another process holds the file.
    #[error(
        "store {path} is in use by another analytics process: stop that one, or give this one a state folder of its own"
    )]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// The disk or the file's permissions are in the way.
    #[error("store {path} cannot be opened: {error}; check its owner and the space left")]
    Open {
        /// Which.
        path: PathBuf,
        /// What the library said.
        error: Box<redb::Error>,
    },
    /// Its content is not a store.
    #[error(
        "store {path} is damaged ({error}): move it away and start again; what was used of quotas is then learned from \
         the records, and alerts may be told once more"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What the library said.
        error: Box<redb::Error>,
    },
    /// A transaction failed.
    #[error("durable store failed: {0}")]
    Transaction(#[from] Box<redb::Error>),
    /// A row is not of this release.
    #[error("row `{id}` of the durable store is not understood: {error}")]
    Row {
        /// Which.
        id: String,
        /// What is wrong.
        error: serde_json::Error,
    },
}

/// Why a store cannot be opened, by what a person can do about it.
fn unopened(path: PathBuf, error: redb::Error) -> LedgerError {
    use std::io::ErrorKind;
    let error = Box::new(error);
    match &*error {
        redb::Error::DatabaseAlreadyOpen => LedgerError::InUse { path },
        redb::Error::Io(io) if !matches!(io.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
            LedgerError::Open { path, error }
        }
        _ => LedgerError::Damaged { path, error },
    }
}

fn failed(error: impl Into<redb::Error>) -> LedgerError {
    LedgerError::Transaction(Box::new(error.into()))
}

/// A handle; cheap to clone. All calls block on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    database: Arc<Database>,
}

impl Ledger {
    /// Opens or creates the store in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self, LedgerError> {
        // Targets of alerts may hold secrets of their receivers.
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| LedgerError::Folder { path: folder.into(), error })?;
        let path = folder.join("analytics.redb");
        let database = Database::create(&path).map_err(|error| unopened(path.clone(), error.into()))?;
        let ledger = Self { database: Arc::new(database) };
        ledger.write(|transaction| {
            for table in [QUOTA, ALERTS, AUTHORITY, CLEAN_STOP, INGEST, GATEWAYS] {
                transaction.open_table(table).map_err(failed)?;
            }
            Ok(())
        })?;
        Ok(ledger)
    }

    /// All quota rows.
    pub(crate) fn quota(&self) -> Result<Vec<Row>, LedgerError> {
        self.all(QUOTA)
    }

    /// All alerts.
    pub(crate) fn alerts(&self) -> Result<Vec<Alert>, LedgerError> {
        self.all(ALERTS)
    }

    /// The last facts of all gateways.
    pub(crate) fn gateways<T: DeserializeOwned>(&self) -> Result<Vec<T>, LedgerError> {
        self.all(GATEWAYS)
    }

    /// Commits changes of quotas and the alerts that they caused, together. An alert that is there already stays as it
    /// is: its deliveries may have gone on.
    pub(crate) fn commit(&self, changes: &[Change], alerts: &[Alert]) -> Result<(), LedgerError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(QUOTA).map_err(failed)?;
            for change in changes {
                match change {
                    Change::Put(row) => {
                        let id = row.id();
                        table.insert(id.as_str(), encode(&id, row)?.as_slice()).map_err(failed)?;
                    }
                    Change::Drop(id) => {
                        table.remove(id.as_str()).map_err(failed)?;
                    }
                }
            }
            let mut table = transaction.open_table(ALERTS).map_err(failed)?;
            for alert in alerts {
                if table.get(alert.id.as_str()).map_err(failed)?.is_none() {
                    table.insert(alert.id.as_str(), encode(&alert.id, alert)?.as_slice()).map_err(failed)?;
                }
            }
            Ok(())
        })
    }

    /// Writes alerts whose deliveries went on, and forgets others.
    pub(crate) fn update_alerts(&self, changed: &[Alert], forget: &[String]) -> Result<(), LedgerError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(ALERTS).map_err(failed)?;
            for alert in changed {
                table.insert(alert.id.as_str(), encode(&alert.id, alert)?.as_slice()).map_err(failed)?;
            }
            for id in forget {
                table.remove(id.as_str()).map_err(failed)?;
            }
            Ok(())
        })
    }

    /// Writes the last facts of one gateway.
    pub(crate) fn put_gateway<T: Serialize>(&self, name: &str, facts: &T) -> Result<(), LedgerError> {
        self.put(GATEWAYS, name, facts)
    }

    /// Whether this store has ever held all that was granted. A fresh file has not: it may stand for one that was lost.
    pub(crate) fn knows_quota(&self) -> Result<bool, LedgerError> {
        Ok(!self.all::<bool>(AUTHORITY)?.is_empty())
    }

    /// From now on, this store holds all that is granted.
    pub(crate) fn put_knows_quota(&self) -> Result<(), LedgerError> {
        self.put(AUTHORITY, "complete", &true)
    }

    /// Notes that no insert of this process can still run.
    pub(crate) fn put_clean_stop(&self) -> Result<(), LedgerError> {
        self.put(CLEAN_STOP, "stopped", &true)
    }

    /// Whether the process before this one had stopped without an insert under way. Takes the note away, durably, before
    /// this process sends an insert of its own.
    pub(crate) fn take_clean_stop(&self) -> Result<bool, LedgerError> {
        let clean = !self.all::<bool>(CLEAN_STOP)?.is_empty();
        if clean {
            self.write(|transaction| {
                let mut table = transaction.open_table(CLEAN_STOP).map_err(failed)?;
                table.remove("stopped").map_err(failed)?;
                Ok(())
            })?;
        }
        Ok(clean)
    }

    /// What ingestion knew last.
    pub(crate) fn ingest(&self) -> Result<analytics_ingest::Ledger, LedgerError> {
        Ok(self.all(INGEST)?.pop().unwrap_or_default())
    }

    /// Writes what ingestion knows.
    pub(crate) fn put_ingest(&self, known: &analytics_ingest::Ledger) -> Result<(), LedgerError> {
        self.put(INGEST, "streams", known)
    }

    fn put<T: Serialize>(
        &self,
        table: TableDefinition<&str, &[u8]>,
        id: &str,
        value: &T,
    ) -> Result<(), LedgerError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(table).map_err(failed)?;
            table.insert(id, encode(id, value)?.as_slice()).map_err(failed)?;
            Ok(())
        })
    }

    fn write(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        let transaction = self.database.begin_write().map_err(failed)?;
        work(&transaction)?;
        transaction.commit().map_err(failed)
    }

    fn all<T: DeserializeOwned>(&self, table: TableDefinition<&str, &[u8]>) -> Result<Vec<T>, LedgerError> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let table = transaction.open_table(table).map_err(failed)?;
        let mut rows = Vec::new();
        for entry in table.iter().map_err(failed)? {
            let (id, value) = entry.map_err(failed)?;
            let row = serde_json::from_slice(value.value())
                .map_err(|error| LedgerError::Row { id: id.value().to_owned(), error })?;
            rows.push(row);
        }
        Ok(rows)
    }
}

fn encode<T: Serialize>(id: &str, value: &T) -> Result<Vec<u8>, LedgerError> {
    serde_json::to_vec(value).map_err(|error| LedgerError::Row { id: id.to_owned(), error })
}
