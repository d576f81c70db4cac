//! The way to ClickHouse: questions, definitions, inserts.
//!
//! In: statements of `analytics_query`, DDL, sealed blocks. Out: rows, bytes, or an error that says whether the store is
//! away or refused. Values travel as query parameters. It never decides whether an insert is to be repeated: that is
//! `analytics_ingest`.

mod insert;

use std::time::Duration;

use analytics_query::{Statement, Value};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::Options;

pub(crate) use insert::Insert;

/// Longest run of a question.
const QUERY_SECONDS: u32 = 30;
/// Longest wait for the store's answer; a little more than the store itself allows.
const QUERY_WAIT: Duration = Duration::from_secs(QUERY_SECONDS as u64 + 5);
/// Most bytes that a question may read into an answer.
const MAX_RESULT_BYTES: u32 = 256 << 20;

/// Why the store did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// No answer: it is away, starting or hanging.
    #[error("the store is away: {0}")]
    Away(String),
    /// It answered with an error.
    #[error("the store refused: {0}")]
    Refused(String),
    /// It answered with something else than was asked for.
    #[error("the store's answer is not understood: {0}")]
    Answer(String),
}

impl From<clickhouse::error::Error> for StoreError {
    fn from(error: clickhouse::error::Error) -> Self {
        use clickhouse::error::Error as E;
        match error {
            E::BadResponse(text) => Self::Refused(text),
            E::Network(_) | E::TimedOut => Self::Away(chain(&error)),
            other => Self::Answer(chain(&other)),
        }
    }
}

/// An error with all of its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = next.source();
    }
    text
}

/// A handle to the store; cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    client: clickhouse::Client,
    insert: Insert,
    database: String,
}

impl Store {
    /// A handle; nothing is sent yet.
    pub(crate) fn new(options: &Options) -> Result<Self, reqwest::Error> {
        let mut client = clickhouse::Client::default()
            .with_url(&options.clickhouse_url)
            .with_validation(false)
            .with_compression(clickhouse::Compression::Lz4);
        let token = options.clickhouse_token.clone().unwrap_or_default();
        client = match &options.clickhouse_user {
            Some(user) => client.with_user(user).with_password(token),
            None if token.is_empty() => client,
            None => client.with_access_token(token),
        };
        Ok(Self { client, insert: Insert::new(options)?, database: options.database.clone() })
    }

    /// The database that holds our tables.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// Sends sealed blocks.
    pub(crate) fn insert(&self) -> &Insert {
        &self.insert
    }

    /// Runs a definition or a change that answers nothing. `database`: whether our database is there yet.
    pub(crate) async fn execute(&self, statement: &Statement) -> Result<(), StoreError> {
        let query =
            bind(self.client.clone().with_database(&self.database).query_raw(statement.sql()), statement);
        timed(query.execute()).await
    }

    /// Runs a definition outside of our database, which may not be there yet.
    pub(crate) async fn execute_outside(&self, sql: &str) -> Result<(), StoreError> {
        timed(self.client.query_raw(sql).execute()).await
    }

    /// The answer to a question in a format of ClickHouse's, such as `CSVWithNames`.
    pub(crate) async fn bytes(&self, statement: &Statement, format: &str) -> Result<Bytes, StoreError> {
        let query = self.client.clone().with_database(&self.database).query_raw(statement.sql());
        let query = bind(query, statement)
            .with_setting("max_execution_time", QUERY_SECONDS.to_string())
            .with_setting("max_result_bytes", MAX_RESULT_BYTES.to_string())
            .with_setting("output_format_json_quote_64bit_integers", "0")
            .with_setting("output_format_json_quote_denormals", "0")
            .with_setting("output_format_parquet_string_as_string", "1");
        let mut cursor = query.fetch_bytes(format)?;
        timed(cursor.collect()).await
    }

    /// The rows of an answer.
    pub(crate) async fn rows<T: DeserializeOwned>(
        &self,
        statement: &Statement,
    ) -> Result<Vec<T>, StoreError> {
        let bytes = self.bytes(statement, "JSONEachRow").await?;
        let rows = serde_json::Deserializer::from_slice(&bytes).into_iter();
        rows.collect::<Result<_, _>>().map_err(|error| StoreError::Answer(error.to_string()))
    }

    /// The rows of an answer to SQL about more than our database, which may not be there yet.
    pub(crate) async fn rows_outside<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, StoreError> {
        let mut cursor = self.client.query_raw(sql).fetch_bytes("JSONEachRow")?;
        let bytes = timed(cursor.collect()).await?;
        let rows = serde_json::Deserializer::from_slice(&bytes).into_iter();
        rows.collect::<Result<_, _>>().map_err(|error| StoreError::Answer(error.to_string()))
    }

    /// The rows of an answer to SQL that this project wrote itself, without values.
    pub(crate) async fn rows_of<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, StoreError> {
        self.rows(&Statement::plain(sql)).await
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("database", &self.database).finish_non_exhaustive()
    }
}

async fn timed<T>(work: impl Future<Output = clickhouse::error::Result<T>>) -> Result<T, StoreError> {
    match tokio::time::timeout(QUERY_WAIT, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(StoreError::Away(format!("no answer in {} s", QUERY_WAIT.as_secs()))),
    }
}

fn bind(mut query: clickhouse::query::Query, statement: &Statement) -> clickhouse::query::Query {
    for (name, value) in statement.values() {
        query = match value {
            Value::Text(text) => query.param(&name, text),
            Value::Texts(texts) => query.param(&name, texts),
            Value::Number(number) => query.param(&name, number),
            Value::Numbers(numbers) => query.param(&name, numbers),
            Value::Micros(micros) => query.param(&name, micros),
        };
    }
    query
}
