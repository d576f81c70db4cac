//! One sealed block, one insert.
//!
//! In: a Native block, a token, a deadline. Out: whether it was surely done, surely not, or maybe.
//! The block travels as the body of the request, never as part of a statement.

use std::time::Duration;

use analytics_ingest::InsertOutcome;
use analytics_record::segment::INSERT_SETTINGS;
use reqwest::StatusCode;

use crate::Options;

/// Added to the store's own deadline before giving up on its answer.
const SLACK: Duration = Duration::from_secs(5);

/// Codes of exceptions that are thrown before anything is written: unknown table, database, column or setting, syntax,
/// no access, too many queries, too many parts, wrong password.
const BEFORE_WRITING: [&str; 12] =
    ["16", "60", "62", "81", "115", "192", "193", "194", "202", "252", "497", "516"];

/// Sends blocks; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Insert {
    http: reqwest::Client,
    url: String,
    user: Option<String>,
    token: Option<String>,
    database: String,
}

impl Insert {
    pub(super) fn new(options: &Options) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(2)).no_proxy().build()?;
        Ok(Self {
            http,
            url: options.clickhouse_url.clone(),
            user: options.clickhouse_user.clone(),
            token: options.clickhouse_token.clone(),
            database: options.database.clone(),
        })
    }

    /// Inserts `block` under `token`; the store gives up after `deadline`, after which it cannot commit any more.
    pub(crate) async fn send(&self, block: Vec<u8>, token: &str, deadline: Duration) -> InsertOutcome {
        let statement = analytics_record::table::insert_statement(&self.database);
        let seconds = deadline.as_secs_f64().max(0.1).to_string();
        let mut query: Vec<(&str, &str)> = vec![
            ("query", &statement),
            ("insert_deduplication_token", token),
            ("max_execution_time", &seconds),
        ];
        query.extend(INSERT_SETTINGS);
        let mut request = self.http.post(&self.url).query(&query).timeout(deadline + SLACK).body(block);
        request = match (&self.user, &self.token) {
            (Some(user), token) => request.basic_auth(user, token.as_ref()),
            (None, Some(token)) => request.bearer_auth(token),
            (None, None) => request,
        };
        match request.send().await {
            Ok(response) => read(response).await,
            Err(error) if error.is_connect() || error.is_builder() => {
                tracing::debug!(error = super::chain(&error), "insert was not sent");
                InsertOutcome::Refused
            }
            Err(error) => {
                tracing::warn!(error = super::chain(&error), "insert without an answer");
                InsertOutcome::Ambiguous
            }
        }
    }
}

async fn read(response: reqwest::Response) -> InsertOutcome {
    let status = response.status();
    let code = response.headers().get("x-clickhouse-exception-code").cloned();
    let code = code.as_ref().and_then(|code| code.to_str().ok()).unwrap_or_default().to_owned();
    // The whole answer must have arrived: an error may follow a head that said 200.
    let body = response.bytes().await;
    match (status, body) {
        (StatusCode::OK, Ok(body)) if code.is_empty() && body.is_empty() => InsertOutcome::Ok,
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Ok(body)) => {
            said(status, &code, &body);
            InsertOutcome::Refused
        }
        (_, Ok(body)) => {
            said(status, &code, &body);
            if BEFORE_WRITING.contains(&code.as_str()) {
                InsertOutcome::Refused
            } else {
                InsertOutcome::Ambiguous
            }
        }
        (_, Err(error)) => {
            tracing::warn!(error = super::chain(&error), "insert whose answer broke off");
            InsertOutcome::Ambiguous
        }
    }
}

fn said(status: StatusCode, code: &str, body: &[u8]) {
    let text: String = String::from_utf8_lossy(body).chars().take(400).collect();
    tracing::warn!(%status, code, text, "insert answered with an error");
}
