//! Settles leases of gateways that died, from their records.
//!
//! In: lives that left leases behind, and what is known of their streams. Out: settlements. A life is settled only when a
//! newer life of the same gateway holds the spool (so the old one is dead for sure) and every stream of the old one is in
//! the store to its end: then the sum of units per lease is all there will ever be. What a
//! declared loss may have held stays charged and is never billed.

use std::time::Duration;

use analytics_record::GatewayId;
use gateway_quota::{LeaseId, OrphanStream, Proof, Settlement};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::AuthorityHandle;
use crate::dock::Dock;
use crate::fleet::Fleet;
use crate::store::Store;

/// Time between looks.
const PULSE: Duration = Duration::from_secs(1);

#[derive(Debug, Deserialize)]
struct Units {
    lease: u64,
    units: u64,
}

/// Starts the task.
pub(crate) fn start(
    authority: AuthorityHandle,
    dock: Dock,
    fleet: Fleet,
    store: Store,
    shutdown: CancellationToken,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let work = async {
            loop {
                tokio::time::sleep(PULSE).await;
                if let Err(error) = settle(&authority, &dock, &fleet, &store).await {
                    tracing::debug!(error, "settlement waits");
                }
            }
        };
        tokio::select! { () = work => {}, () = shutdown.cancelled() => {} }
    })
}

async fn settle(
    authority: &AuthorityHandle,
    dock: &Dock,
    fleet: &Fleet,
    store: &Store,
) -> Result<(), String> {
    let (observed, orphans) = authority.orphans().await.map_err(|error| error.to_string())?;
    for OrphanStream { gateway, epoch, leases, .. } in orphans {
        let Some((named, lost)) = fleet.left_behind(gateway.as_str(), epoch) else { continue };
        let count = named.len();
        let known = dock.streams(named).await.map_err(|error| error.to_string())?;
        if known.len() < count || known.iter().any(|stream| !stream.finished) {
            continue;
        }
        let lost = lost || known.iter().any(|stream| stream.lost > 0);
        let proof = if lost { Proof::Lost } else { Proof::Dead };
        let units = units(store, gateway.as_str(), epoch).await?;
        let facts = Settlement { gateway: gateway.clone(), epoch, observed, proof, units };
        authority.settle(facts).await.map_err(|error| error.to_string())?;
        tracing::info!(%gateway, epoch, leases, "leases of an ended life are settled from its records");
    }
    Ok(())
}

/// Settles all lives of a gateway whose spool is gone for good; how many. What was granted stays charged as far as no
/// record shows it, and is never billed.
pub(crate) async fn give_up(
    authority: &AuthorityHandle,
    store: &Store,
    wanted: GatewayId,
) -> Result<usize, String> {
    let (observed, orphans) = authority.orphans().await.map_err(|error| error.to_string())?;
    let mut settled = 0;
    for orphan in orphans.into_iter().filter(|orphan| orphan.gateway.as_str() == wanted.to_string()) {
        let OrphanStream { gateway, epoch, .. } = orphan;
        let units = units(store, gateway.as_str(), epoch).await?;
        let facts = Settlement { gateway, epoch, observed, proof: Proof::Lost, units };
        authority.settle(facts).await.map_err(|error| error.to_string())?;
        settled += 1;
    }
    Ok(settled)
}

/// Units by lease that the records of one life show.
async fn units(store: &Store, gateway: &str, epoch: u32) -> Result<Vec<(LeaseId, u64)>, String> {
    let gateway: GatewayId = gateway.parse().map_err(|_| format!("{gateway} is not a UUID"))?;
    let sql = format!(
        "SELECT lease, sum(units) AS units FROM (SELECT charge_lease, charge_units FROM usage_records \
         WHERE segment_gateway = toUUID('{gateway}') AND segment_epoch = {epoch}) \
         ARRAY JOIN charge_lease AS lease, charge_units AS units WHERE lease != 0 GROUP BY lease"
    );
    let rows: Vec<Units> = store.rows_of(&sql).await.map_err(|error| error.to_string())?;
    Ok(rows.iter().filter_map(|row| Some((LeaseId::new(row.lease)?, row.units))).collect())
}
