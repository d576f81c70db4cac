//! Questions to the store itself, past the service, so that a test does not believe what it tests.

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;

use crate::Machine;

impl Machine {
    /// Rows of a query, each as JSON.
    pub async fn query<T: DeserializeOwned>(&self, sql: &str) -> anyhow::Result<Vec<T>> {
        let response = self
            .http()
            .post(self.info()?["engine"].as_str().context("run.json names no engine")?)
            .query(&[("database", "turnpike"), ("output_format_json_quote_64bit_integers", "0")])
            .bearer_auth(self.token()?)
            .body(format!("{sql} FORMAT JSONEachRow"))
            .send()
            .await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("the engine answered {status}: {text}");
        }
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// The only number of the only row of a query.
    pub async fn number(&self, sql: &str) -> anyhow::Result<u64> {
        let rows: Vec<serde_json::Map<String, serde_json::Value>> = self.query(sql).await?;
        rows.first()
            .and_then(|row| row.values().next())
            .and_then(serde_json::Value::as_u64)
            .with_context(|| format!("no number in the answer to {sql}"))
    }
}
