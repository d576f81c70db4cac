//! Demo traffic: real requests to a running gateway, counted by the sender alone, and a receiver of alerts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Certificate, Method, Url};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::client::Analytics;
use crate::commands::{Report, usage_table};
use crate::output::{Style, paint, say};
use crate::state::State;

/// Requests under way at once.
const CONCURRENCY: usize = 16;
/// A file with more is refused: a demo is not a load test.
const MAX_REQUESTS: u32 = 100_000;

/// Longest time from the last answer until its record is counted in the store.
const COMPLETE_WITHIN: Duration = Duration::from_secs(30);
/// Longest time until the alert of a limit that was reached.
const ALERT_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at alerts of earlier runs.
const ALERT_LOOK: Duration = Duration::from_secs(2);

/// What to send, as a file says it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Traffic {
    /// Where the echo upstream listens.
    pub(crate) upstream: SocketAddr,
    /// Where alerts are received.
    pub(crate) receiver: Receiver,
    host: String,
    http_port: u16,
    https_port: u16,
    per_second: u32,
    requests: Vec<Requests>,
}

/// A webhook receiver.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receiver {
    pub(crate) listen: SocketAddr,
    pub(crate) secret: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Requests {
    consumer: String,
    key: String,
    method: String,
    path: String,
    count: u32,
    #[serde(default)]
    body_bytes: usize,
    #[serde(default)]
    tls: bool,
}

/// Answers that the sender received in full, by consumer and status.
pub(crate) type Tally = BTreeMap<(String, u16), u64>;

impl Traffic {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let traffic: Self = serde_json::from_slice(&text).with_context(|| format!("{}", path.display()))?;
        let total: u32 = traffic.requests.iter().map(|requests| requests.count).sum();
        if total > MAX_REQUESTS || traffic.per_second == 0 {
            bail!("{}: at most {MAX_REQUESTS} requests, and at least one per second", path.display());
        }
        Ok(traffic)
    }

    /// How many requests it is.
    pub(crate) fn len(&self) -> u32 {
        self.requests.iter().map(|requests| requests.count).sum()
    }

    /// Sends everything, evenly mixed, and counts the answers.
    pub(crate) async fn send(&self, ca: Option<&Path>, progress: impl Fn(u32)) -> anyhow::Result<Tally> {
        let client = self.client(ca)?;
        let slots = Arc::new(Semaphore::new(CONCURRENCY));
        let mut running = JoinSet::new();
        let mut tally = Tally::new();
        let start = Instant::now();
        for (sent, index) in self.mixed().into_iter().enumerate() {
            let due = start + Duration::from_secs(1) * u32::try_from(sent)? / self.per_second;
            tokio::time::sleep_until(due).await;
            let permit = slots.clone().acquire_owned().await?;
            let request = self.request(&client, &self.requests[index])?;
            let consumer = self.requests[index].consumer.clone();
            running.spawn(async move {
                let response = request.send().await?;
                let status = response.status().as_u16();
                response.bytes().await?;
                drop(permit);
                Ok::<_, reqwest::Error>((consumer, status))
            });
            while let Some(done) = running.try_join_next() {
                *tally.entry(done??).or_default() += 1;
            }
            progress(u32::try_from(sent)? + 1);
        }
        while let Some(done) = running.join_next().await {
            *tally.entry(done??).or_default() += 1;
        }
        Ok(tally)
    }

    fn client(&self, ca: Option<&Path>) -> anyhow::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .no_proxy()
            // The host name is the example's; its address is this machine.
            .resolve(&self.host, SocketAddr::from(([127, 0, 0, 1], 0)));
        if let Some(ca) = ca {
            builder = builder.tls_certs_only([Certificate::from_pem(&std::fs::read(ca)?)?]);
        }
        Ok(builder.build()?)
    }

    fn request(
        &self,
        client: &reqwest::Client,
        requests: &Requests,
    ) -> anyhow::Result<reqwest::RequestBuilder> {
        let (scheme, port) = if requests.tls { ("https", self.https_port) } else { ("http", self.http_port) };
        let url = Url::parse(&format!("{scheme}://{}:{port}{}", self.host, requests.path))?;
        let mut request = client.request(Method::from_bytes(requests.method.as_bytes())?, url);
        if !requests.key.is_empty() {
            request = request.header("x-api-key", &requests.key);
        }
        if requests.body_bytes > 0 {
            request = request.body(vec![b'x'; requests.body_bytes]);
        }
        Ok(request)
    }

    /// Indices of `requests`, each as often as its count, spread evenly over the whole.
    fn mixed(&self) -> Vec<usize> {
        let mut order: Vec<(f64, usize)> = Vec::new();
        for (index, requests) in self.requests.iter().enumerate() {
            let step = 1.0 / f64::from(requests.count.max(1));
            order.extend((0..requests.count).map(|nth| ((f64::from(nth) + 0.5) * step, index)));
        }
        order.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        order.into_iter().map(|(_, index)| index).collect()
    }
}

/// Sends the traffic, then shows usage from the store beside the sender's own count. With `once`, ends when both
/// agree and an alert has arrived; otherwise it stays.
pub(crate) async fn run(
    traffic: &Traffic,
    mut alerts: mpsc::Receiver<Value>,
    state: &State,
    once: bool,
) -> anyhow::Result<ExitCode> {
    let began = jiff::Timestamp::now();
    say(&paint(Style::Strong, &format!("\nSending {} requests", traffic.len())))?;
    let ca = state.path("ca/ca.pem");
    let step = traffic.len().div_ceil(4).max(1);
    let tally = traffic
        .send(ca.exists().then_some(ca.as_path()), |sent| {
            if sent % step == 0 || sent == traffic.len() {
                let _ = say(&format!("  {sent} of {} sent", traffic.len()));
            }
        })
        .await
        .context("the demo's traffic failed")?;
    let analytics = Analytics::new(&state.run_info()?.analytics, state.token()?)?;
    let report = await_complete(&analytics, began, jiff::Timestamp::now()).await?;
    say(&format!("\n{}\n", usage_table(&report)))?;
    let differences = compare(&tally, &report);
    if !differences.is_empty() {
        bail!("usage differs from what was sent:\n  {}", differences.join("\n  "));
    }
    let total: u64 = tally.values().sum();
    say(&paint(Style::Good, &format!("The sender counted the same: {total} answers, difference 0.")))?;
    tell_alerts(&analytics, &mut alerts, once).await?;
    Ok(ExitCode::SUCCESS)
}

/// Prints alerts as they arrive; with `once`, the first is enough.
async fn tell_alerts(
    analytics: &Analytics,
    alerts: &mut mpsc::Receiver<Value>,
    once: bool,
) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let within = if once { ALERT_LOOK } else { Duration::MAX };
        match timeout(within, alerts.recv()).await {
            Ok(Some(alert)) => {
                let line = alert_line(&alert["data"]);
                say(&format!("{} {line}", paint(Style::Warning, "Alert, signature verified:")))?;
                if once {
                    return Ok(());
                }
            }
            Ok(None) => std::future::pending().await,
            Err(_) if tell_earlier_alert(analytics).await? => return Ok(()),
            Err(_) if began.elapsed() > ALERT_WITHIN => bail!("no alert arrived within {ALERT_WITHIN:?}"),
            Err(_) => {}
        }
    }
}

/// Each threshold is told once in a window: a second run on the same state has nothing new to tell. Whether there was
/// an alert to tell again.
async fn tell_earlier_alert(analytics: &Analytics) -> anyhow::Result<bool> {
    let known: Value = analytics.json("/v1/alerts", &[("state", "delivered".to_owned())]).await?;
    let Some(alert) = known["alerts"].as_array().and_then(|alerts| alerts.first()) else { return Ok(false) };
    say(&format!("No new alert; told in an earlier run: {}", alert_line(alert)))?;
    Ok(true)
}

fn alert_line(data: &Value) -> String {
    let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
    format!(
        "{} of {} has used {} of {} {} ({} %)",
        text("consumer"),
        text("limit"),
        data["used"],
        data["max"],
        text("unit"),
        data["threshold"]
    )
}

/// The report over `[from, to)`, once the store has everything in it.
async fn await_complete(
    analytics: &Analytics,
    from: jiff::Timestamp,
    to: jiff::Timestamp,
) -> anyhow::Result<Report> {
    let deadline = Instant::now() + COMPLETE_WITHIN;
    let query = [
        ("by", "consumer,status".to_owned()),
        ("from", from.to_string()),
        // The last record is written after its answer was received.
        ("to", (to + Duration::from_millis(100)).to_string()),
    ];
    loop {
        let report: Report = analytics.json("/v1/usage", &query).await?;
        if report.complete {
            return Ok(report);
        }
        if Instant::now() > deadline {
            bail!("usage is not complete after {COMPLETE_WITHIN:?}: {}", report.statement);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Lines that the sender's count and the report disagree on.
fn compare(tally: &Tally, report: &Report) -> Vec<String> {
    let mut reported = Tally::new();
    for row in &report.rows {
        let consumer = row["consumer"].as_str().unwrap_or_default().to_owned();
        let status = row["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or_default();
        *reported.entry((consumer, status)).or_default() += row["requests"].as_u64().unwrap_or_default();
    }
    let keys: std::collections::BTreeSet<_> = tally.keys().chain(reported.keys()).collect();
    keys.into_iter()
        .filter(|key| tally.get(*key) != reported.get(*key))
        .map(|key| {
            let count = |tally: &Tally| tally.get(key).copied().unwrap_or_default();
            format!("{} {}: sent {}, reported {}", key.0, key.1, count(tally), count(&reported))
        })
        .collect()
}
