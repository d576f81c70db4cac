//! Alerts in a real Alertmanager: those that were crossed, once each, soon, and not again after a crash.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Deserialize;
use tests::shop::{self, Caller};
use tests::{Machine, Part, Setup, Upstream, eventually, free_port, kill};

use crate::partner::{Partner, STORED_WITHIN, between, built};

const QUOTA: u64 = 100;
/// From the request that crosses a threshold until the alert can be seen.
const SOON: Duration = Duration::from_secs(2);

/// A running Alertmanager without receivers.
struct Alertmanager {
    url: String,
    http: reqwest::Client,
    _process: Partner,
    _folder: tempfile::TempDir,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
}

impl Alertmanager {
    fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("alertmanager.yml");
        std::fs::write(&config, "route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n")?;
        let process = Partner::start(
            &built("alertmanager")?.join("alertmanager"),
            &[
                &format!("--config.file={}", config.display()),
                &format!("--storage.path={}", folder.path().join("data").display()),
                "--web.listen-address=127.0.0.1:0",
                "--cluster.listen-address=",
            ],
        )?;
        let line = process.line("Listening on")?;
        let address = line.split("address=").nth(1).context("no address")?.trim();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        Ok(Self { url: format!("http://{address}"), http, _process: process, _folder: folder })
    }

    /// Its alerts, by the label `threshold`.
    async fn alerts(&self) -> anyhow::Result<Vec<Alert>> {
        let url = format!("{}/api/v2/alerts", self.url);
        let mut alerts: Vec<Alert> = self.http.get(url).send().await?.error_for_status()?.json().await?;
        alerts.sort_by_key(Alert::threshold);
        Ok(alerts)
    }

    /// Messages that it took in, repeated ones too.
    async fn received(&self) -> anyhow::Result<u64> {
        let text = self.http.get(format!("{}/metrics", self.url)).send().await?.text().await?;
        let count =
            between(&text, "\nalertmanager_alerts_received_total{status=\"firing\",version=\"v2\"} ", "\n")?;
        Ok(count.parse()?)
    }
}

impl Alert {
    fn threshold(&self) -> u64 {
        self.labels.get("threshold").and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

fn policy(url: &str) -> String {
    format!(
        r"apiVersion: turnpike.dev/v1alpha1
kind: AlertPolicy
metadata: {{ name: quota, namespace: shop }}
spec:
  thresholds: [50, 80, 100]
  channels: [{{ type: Alertmanager, alertmanager: {{ url: '{url}' }} }}]
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn crossings_arrive_once_each_and_soon() -> anyhow::Result<()> {
    let alertmanager = Alertmanager::start()?;
    let callers = [Caller::new("alice", QUOTA, "Year")];
    let upstream = Upstream::start().await?;
    let port = free_port();
    let machine = Setup::new()
        .file("gateway.yaml", shop::gateway(port, upstream.port(), &callers))
        .file("callers.yaml", shop::callers(&callers))
        .file("alerts.yaml", policy(&alertmanager.url))
        .start()?;
    let mut sent = 0;
    let mut crossed = Vec::new();
    for threshold in [50, 80, 100] {
        while sent < threshold {
            // Not one too early.
            if sent + 1 == threshold {
                let seen: Vec<u64> = alertmanager.alerts().await?.iter().map(Alert::threshold).collect();
                assert_eq!(seen, crossed, "after {sent} of {QUOTA} requests");
            }
            assert_eq!(request(&machine, port, &callers[0]).await?, 200, "request {sent}");
            sent += 1;
        }
        let at = Instant::now();
        crossed.push(threshold);
        eventually(&format!("the alert at {threshold} %"), SOON, || async {
            let seen: Vec<u64> = alertmanager
                .alerts()
                .await
                .map_err(|e| format!("{e:#}"))?
                .iter()
                .map(Alert::threshold)
                .collect();
            if seen == crossed { Ok(()) } else { Err(format!("{seen:?}\n{}", machine.logs())) }
        })
        .await;
        assert!(at.elapsed() <= SOON, "the alert at {threshold} % took {:?}", at.elapsed());
    }
    let alerts = alertmanager.alerts().await?;
    for alert in &alerts {
        check(alert);
    }
    no_second_alert_after_a_crash(&machine, &alertmanager, port, &callers[0]).await?;
    assert_eq!(alertmanager.alerts().await?, alerts, "nothing changed");
    Ok(())
}

async fn request(machine: &Machine, port: u16, caller: &Caller) -> anyhow::Result<u16> {
    let url = format!("http://127.0.0.1:{port}/");
    Ok(machine.http().get(url).header("x-api-key", caller.key()).send().await?.status().as_u16())
}

fn check(alert: &Alert) {
    let label = |name: &str| alert.labels.get(name).map_or("", String::as_str);
    assert_eq!(label("alertname"), "TurnpikeQuotaThreshold", "{alert:?}");
    assert_eq!(label("consumer"), "shop/alice", "{alert:?}");
    assert_eq!(label("limit"), "plan/shop/alice/all", "{alert:?}");
    assert_eq!(label("subject"), "subscription/shop/alice", "{alert:?}");
    assert_eq!(label("severity"), if alert.threshold() == 100 { "critical" } else { "warning" }, "{alert:?}");
    assert!(label("window_start").ends_with("-01-01T00:00:00Z"), "{alert:?}");
    // The window's end is the alert's, and no more was used than that threshold when it was told.
    assert!(alert.ends_at.contains("-01-01T00:00:00"), "{alert:?}");
    assert!(!alert.starts_at.is_empty());
    assert_eq!(alert.annotations.get("used").map(String::as_str), Some(label("threshold")), "{alert:?}");
    assert_eq!(alert.annotations.get("max").map(String::as_str), Some("100"), "{alert:?}");
}

/// Kills analytics when its deliveries are noted; what settles afterwards crosses nothing again.
async fn no_second_alert_after_a_crash(
    machine: &Machine,
    alertmanager: &Alertmanager,
    port: u16,
    caller: &Caller,
) -> anyhow::Result<()> {
    eventually("all deliveries are noted", Duration::from_secs(5), || async {
        let alerts = machine.analytics("/v1/alerts").await.map_err(|error| format!("{error:#}"))?;
        let delivered = alerts.to_string().matches("\"state\":\"delivered\"").count();
        if delivered == 3 { Ok(()) } else { Err(alerts.to_string()) }
    })
    .await;
    assert_eq!(alertmanager.received().await?, 3);
    let killed = machine.part(Part::Analytics);
    kill(killed, "KILL");
    eventually("analytics is back", Duration::from_secs(30), || async {
        let alive = ![0, killed].contains(&machine.part(Part::Analytics));
        machine.analytics("/v1/alerts").await.ok().filter(|_| alive).ok_or("no answer")
    })
    .await;
    for _ in 0..5 {
        assert_eq!(request(machine, port, caller).await?, 429);
    }
    eventually("all records are in the store and settled", STORED_WITHIN, || async {
        let records = "SELECT toUInt64(sum(n)) FROM turnpike.usage_records WHERE consumer = 'shop/alice'";
        let records = machine.number(records).await.map_err(|error| format!("{error:#}"))?;
        let quotas = machine.analytics("/v1/quotas").await.map_err(|error| format!("{error:#}"))?;
        let quota = &quotas["quotas"][0];
        let settled = quota["used"] == QUOTA && quota["leased"] == 0;
        if records == QUOTA + 5 && settled { Ok(()) } else { Err(format!("{records} records, {quota}")) }
    })
    .await;
    assert_eq!(alertmanager.received().await?, 3, "nothing was told twice");
    Ok(())
}
