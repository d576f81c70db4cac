//! What an analytics process is told at start.
//!
//! In: values from flags or a parent. Out: checked options. Tokens never appear in `Debug` output.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use gateway_quota::AuthorityConfig;

use crate::catalog::CatalogSource;

/// How one analytics process runs.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Bearer token for everything but `/healthz`, `/readyz` and the console's files.
    pub token: String,
    /// Base URL of ClickHouse's HTTP interface, such as `http://127.0.0.1:8123`.
    pub clickhouse_url: String,
    /// ClickHouse user; without one, `clickhouse_token` is sent as a bearer token.
    pub clickhouse_user: Option<String>,
    /// Password of the user, or the bearer token.
    pub clickhouse_token: Option<String>,
    /// Database that holds our tables; created when missing.
    pub database: String,
    /// Days that records are kept in detail.
    pub retention_days: u16,
    /// Folder of the quota authority's store and the outbox; created when missing.
    pub data_dir: PathBuf,
    /// Where the compiled catalog comes from; without one nobody has limits.
    pub catalog: Option<CatalogSource>,
    /// An endpoint of its own for gateways that show certificates, and the folder of ours.
    pub gateways: Option<(SocketAddr, PathBuf)>,
    /// Apply pending migrations at start; otherwise wait until `migrate` has done it.
    pub migrate: bool,
    /// How long a quota lease lives after its holder was last heard.
    pub lease_ttl: Duration,
    /// ClickHouse is a child that was just started anew, so no insert of an earlier life can still be running there.
    pub fresh_store: bool,
}

impl Options {
    /// Options for loopback on a free port, with everything else at its default.
    pub fn new(
        token: impl Into<String>,
        clickhouse_url: impl Into<String>,
        data_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: token.into(),
            clickhouse_url: clickhouse_url.into(),
            clickhouse_user: None,
            clickhouse_token: None,
            database: "turnpike".into(),
            retention_days: 35,
            data_dir: data_dir.into(),
            catalog: None,
            gateways: None,
            migrate: true,
            lease_ttl: AuthorityConfig::default().ttl,
            fresh_store: false,
        }
    }

    /// Refuses what cannot work or would be unsafe.
    pub fn check(&self) -> Result<(), OptionsError> {
        if self.token.len() < 16 {
            return Err(OptionsError::Token(self.token.len()));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if self.database.is_empty() || self.database.len() > 64 || !self.database.bytes().all(plain) {
            return Err(OptionsError::Database(self.database.clone()));
        }
        if self.retention_days == 0 {
            return Err(OptionsError::Retention);
        }
        if !(Duration::from_millis(100)..=Duration::from_hours(1)).contains(&self.lease_ttl) {
            return Err(OptionsError::LeaseTtl(self.lease_ttl));
        }
        Ok(())
    }
}

/// Why options are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Anyone could guess it.
    #[error("token has {0} characters; use 16 or more random ones, for example from `openssl rand -hex 24`")]
    Token(usize),
    /// Would have to be quoted in SQL.
    #[error("database `{0}` must be 1 to 64 letters, digits and underscores")]
    Database(String),
    /// Leases would end before they arrive, or bind units for hours.
    #[error("a lease that lives {0:?} does not work; use 100 ms to 1 hour")]
    LeaseTtl(Duration),
    /// Records would vanish at once.
    #[error("retention of 0 days would drop records at once; use 1 day or more")]
    Retention,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("clickhouse_url", &self.clickhouse_url)
            .field("clickhouse_user", &self.clickhouse_user)
            .field("database", &self.database)
            .field("retention_days", &self.retention_days)
            .field("data_dir", &self.data_dir)
            .field("catalog", &self.catalog)
            .field("migrate", &self.migrate)
            .field("lease_ttl", &self.lease_ttl)
            .field("fresh_store", &self.fresh_store)
            .finish_non_exhaustive()
    }
}
