//! Names of endpoints, resolved away from the request path.
//!
//! In: pools and what they are made of. Out: pools whose addresses follow the names, refreshed every few
//! seconds. A name that fails to resolve keeps the addresses it had. Uses the system's resolver, so that
//! `/etc/hosts` and cluster search paths hold.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use gateway_snapshot::Endpoint;

use super::Backend;

/// Between two look-ups of one name.
const REFRESH: Duration = Duration::from_secs(5);
/// After a look-up that failed.
const RETRY: Duration = Duration::from_secs(1);
/// A look-up that takes longer failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// The address of an endpoint that needs no look-up.
pub(super) fn literal(endpoint: &Endpoint) -> Option<SocketAddr> {
    let host = endpoint.host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, endpoint.port))
}

/// Resolves all endpoints of `backend` once; names that fail keep what `present` has for them.
pub(super) async fn resolve(endpoints: &[Endpoint], present: &[SocketAddr]) -> (Vec<SocketAddr>, bool) {
    let mut addresses = BTreeSet::new();
    let mut all = true;
    for endpoint in endpoints {
        if let Some(address) = literal(endpoint) {
            addresses.insert(address);
            continue;
        }
        let lookup = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port));
        if let Ok(Ok(found)) = tokio::time::timeout(PATIENCE, lookup).await {
            addresses.extend(found);
        } else {
            tracing::warn!(host = endpoint.host, "a backend's name does not resolve");
            all = false;
            addresses.extend(present.iter().filter(|address| address.port() == endpoint.port));
        }
    }
    (addresses.into_iter().collect(), all)
}

/// Keeps `backend` up to date for as long as somebody uses it.
pub(super) fn follow(backend: &Arc<Backend>) {
    let weak: Weak<Backend> = Arc::downgrade(backend);
    tokio::spawn(async move {
        loop {
            let Some(backend) = weak.upgrade() else { return };
            let (addresses, all) = resolve(&backend.endpoints, &backend.pool.addresses()).await;
            backend.pool.replace(&addresses, &backend.intern);
            backend.resolved.notify_waiters();
            drop(backend);
            tokio::time::sleep(if all { REFRESH } else { RETRY }).await;
        }
    });
}
