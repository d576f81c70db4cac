//! The analytics API as commands call it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::state::{self, State};

/// A report over much data may take its time; a hanging service may not.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Where analytics is. Without options: the `turnpike up` of this folder.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// State folder of `turnpike up`.
    #[arg(long, default_value = state::DEFAULT, env = "TURNPIKE_STATE", global = true)]
    pub(crate) state: PathBuf,
    /// Base URL of analytics, instead of the one in the state folder.
    #[arg(long, env = "TURNPIKE_ANALYTICS", global = true)]
    analytics: Option<String>,
    /// File with the token for --analytics; TURNPIKE_TOKEN is read when absent.
    #[arg(long, global = true)]
    token_file: Option<PathBuf>,
}

/// A client of one analytics service.
#[derive(Debug, Clone)]
pub(crate) struct Analytics {
    base: String,
    token: String,
    patience: Duration,
    http: reqwest::Client,
}

/// RFC 9457, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
}

impl Target {
    /// A client for it.
    pub(crate) fn connect(&self) -> anyhow::Result<Analytics> {
        if let Some(base) = &self.analytics {
            let token = match &self.token_file {
                Some(path) => read_token(path)?,
                None => std::env::var("TURNPIKE_TOKEN")
                    .context("--analytics needs a token: give --token-file or set TURNPIKE_TOKEN")?,
            };
            return Analytics::new(base, token);
        }
        let state = State::open(&self.state)?;
        Analytics::new(&state.run_info()?.analytics, state.token()?)
    }
}

fn read_token(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim().to_owned())
}

impl Analytics {
    pub(crate) fn new(base: &str, token: String) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), token, patience: TIMEOUT, http })
    }

    /// Waits no longer than this for an answer.
    pub(crate) fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// `GET path?query`, as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<T> {
        let bytes = self.bytes(path, query).await?;
        serde_json::from_slice(&bytes).with_context(|| format!("{path} gave an answer of an unknown form"))
    }

    /// `GET path?query`, as it comes.
    pub(crate) async fn bytes(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Vec<u8>> {
        match self.try_bytes(path, query).await? {
            (status, body) if status.is_success() => Ok(body),
            (status, body) => bail!(explain_failure(path, status, &body)),
        }
    }

    /// `GET path?query`, whatever the status.
    pub(crate) async fn try_bytes(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let url = format!("{}{path}", self.base);
        let response = self
            .http
            .get(&url)
            .query(query)
            .bearer_auth(&self.token)
            .timeout(self.patience)
            .send()
            .await
            .with_context(|| format!("cannot reach {}: is `turnpike up` running?", self.base))?;
        let status = response.status();
        Ok((status, response.bytes().await?.to_vec()))
    }
}

fn explain_failure(path: &str, status: StatusCode, body: &[u8]) -> String {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    match (problem.detail.as_str(), problem.title.as_str()) {
        ("", "") => format!("analytics answered {status} to {path}"),
        ("", title) => format!("{title} ({status})"),
        (detail, _) => detail.to_owned(),
    }
}
