//! Numbered changes of the store's schema, applied in order and remembered.
//!
//! In: `migrations/NNNN_name/up.sql`, built into the binary. Out: a store at the newest version.
//! Every file may be run twice (a crash may fall between the change and its note), so it says IF NOT EXISTS.

use analytics_query::Statement;
use serde::Deserialize;

use crate::store::{Store, StoreError};

/// One numbered change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    /// Its number, from 1, without gaps.
    pub version: u32,
    /// What it is about.
    pub name: &'static str,
    /// Statements, each ended by a semicolon at the end of a line; `{database}` stands for the database.
    pub sql: &'static str,
}

/// All of them, oldest first.
pub(crate) const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "usage", sql: include_str!("../migrations/0001_usage/up.sql") }];

/// Why the store is not at the newest version.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrateError {
    /// The store is away or refused a statement.
    #[error("migration {version} failed: {error}")]
    Failed {
        /// Which one; 0 is the table that remembers them.
        version: u32,
        /// What the store said.
        error: StoreError,
    },
    /// A newer release has been here.
    #[error(
        "the store is at schema version {found}, newer than this release knows ({known}): run the newer release"
    )]
    Newer {
        /// The store's version.
        found: u32,
        /// The newest version built in.
        known: u32,
    },
}

#[derive(Deserialize)]
struct Applied {
    version: u32,
}

#[derive(Deserialize)]
struct Engine {
    engine_full: String,
}

#[derive(Deserialize)]
struct Table {
    #[serde(rename = "name")]
    _name: String,
}

/// The store's version, 0 for an empty store.
pub(crate) async fn version(store: &Store) -> Result<u32, MigrateError> {
    let failed = |error| MigrateError::Failed { version: 0, error };
    let database = store.database();
    store.execute_outside(&format!("CREATE DATABASE IF NOT EXISTS `{database}`")).await.map_err(failed)?;
    let table = "CREATE TABLE IF NOT EXISTS schema_migrations (version UInt32, name String, \
                 applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = MergeTree ORDER BY version \
                 SETTINGS fsync_after_insert = 1, fsync_part_directory = 1";
    store.execute(&Statement::plain(table)).await.map_err(failed)?;
    let rows: Vec<Applied> =
        store.rows_of("SELECT max(version) AS version FROM schema_migrations").await.map_err(failed)?;
    let found = rows.first().map_or(0, |row| row.version);
    let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
    if found > known { Err(MigrateError::Newer { found, known }) } else { Ok(found) }
}

/// Applies what is missing; the number of migrations applied.
pub(crate) async fn apply(store: &Store) -> Result<usize, MigrateError> {
    let found = version(store).await?;
    let mut applied = 0;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > found) {
        let failed = |error| MigrateError::Failed { version: migration.version, error };
        for sql in statements(migration.sql, store.database()) {
            store.execute(&Statement::plain(sql)).await.map_err(failed)?;
        }
        let note = format!(
            "INSERT INTO schema_migrations (version, name) SETTINGS async_insert = 0 VALUES ({}, '{}')",
            migration.version, migration.name
        );
        store.execute(&Statement::plain(note)).await.map_err(failed)?;
        tracing::info!(version = migration.version, name = migration.name, "migration applied");
        applied += 1;
    }
    Ok(applied)
}

/// Whether the store has no table of records yet, and so cannot run an insert into it.
pub(crate) async fn is_empty(store: &Store) -> Result<bool, StoreError> {
    let sql = format!(
        "SELECT name FROM system.tables WHERE database = '{}' AND name = 'usage_records'",
        store.database()
    );
    let rows: Vec<Table> = store.rows_outside(&sql).await?;
    Ok(rows.is_empty())
}

/// Keeps records for as long as the options say.
pub(crate) async fn set_retention(store: &Store, days: u16) -> Result<(), StoreError> {
    let wanted = format!("toIntervalDay({days})");
    let question =
        "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'usage_records'";
    let rows: Vec<Engine> = store.rows_of(question).await?;
    if rows.iter().all(|row| row.engine_full.contains(&wanted)) {
        return Ok(());
    }
    let sql = format!("ALTER TABLE usage_records MODIFY TTL toDate(ts) + INTERVAL {days} DAY DELETE");
    store.execute(&Statement::plain(sql)).await
}

/// The statements of a file, without comments.
fn statements(sql: &str, database: &str) -> Vec<String> {
    let lines: Vec<&str> = sql.lines().filter(|line| !line.starts_with("--")).collect();
    let text = lines.join("\n") + "\n";
    let parts = text.split(";\n").map(|part| part.trim().replace("{database}", database));
    parts.filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_gap_and_files_no_surprise() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version as usize, index + 1);
            let found = statements(migration.sql, "turnpike");
            assert!(!found.is_empty());
            assert!(found.iter().all(|sql| sql.contains("IF NOT EXISTS")), "{found:?}");
        }
    }

    /// The first migration is what the record crate says the table is. Update with `UPDATE_GENERATED=1`.
    #[test]
    fn the_first_migration_is_generated() {
        use analytics_query::rollup;
        use analytics_record::table::{Placement, create_table};
        let placement = Placement { database: "{database}".into(), cluster: None, retention_days: 35 };
        let parts = [
            create_table(&placement),
            rollup::create_table(rollup::ROLLUP),
            rollup::create_table(rollup::STAGING),
        ];
        let header =
            "-- Generated from analytics_record::table and analytics_query::rollup; compared by a test.\n";
        let expected = parts.iter().fold(header.to_owned(), |text, part| text + part + ";\n");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/0001_usage/up.sql");
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::write(path, &expected).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), expected, "run with UPDATE_GENERATED=1");
    }
}
