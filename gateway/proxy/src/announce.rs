//! Tells analytics who this gateway is, for people: where it runs, what it serves, how busy it is. Nothing depends
//! on it: an announcement that fails is forgotten, the next one comes soon.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::service::Service;
use crate::status::Status;

const EVERY: Duration = Duration::from_secs(3);

/// The body of `POST /v1/gateways/{gateway}/status`.
#[derive(Debug, Serialize)]
struct Announcement {
    epoch: u32,
    state: &'static str,
    address: String,
    hostname: String,
    version: &'static str,
    started_at_ms: u64,
    snapshot_version: String,
    connections: u64,
}

/// Announces until `stop`, and once more then.
pub(crate) async fn run(admin: Arc<Admin>, service: Service, stop: CancellationToken) {
    let started_at_ms = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let hostname = hostname();
    loop {
        let status = admin.status();
        let path = format!("/v1/gateways/{}/status", status.gateway);
        let announcement = Announcement::new(status, &hostname, started_at_ms, stop.is_cancelled());
        if let Err(error) = service.tell(&path, &announcement).await {
            tracing::debug!(%error, "not announced");
        }
        if stop.is_cancelled() {
            return;
        }
        let _ = tokio::time::timeout(EVERY, stop.cancelled()).await;
    }
}

impl Announcement {
    fn new(status: Status, hostname: &str, started_at_ms: u64, stopped: bool) -> Self {
        let addresses: Vec<_> = status
            .listeners
            .values()
            .filter_map(|listener| listener.address)
            .map(|at| at.to_string())
            .collect();
        Self {
            epoch: status.epoch,
            state: match (stopped, status.draining) {
                (true, _) => "stopped",
                (false, true) => "draining",
                (false, false) => "serving",
            },
            address: addresses.join(", "),
            hostname: hostname.to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            started_at_ms,
            snapshot_version: status.version,
            connections: status.connections,
        }
    }
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
