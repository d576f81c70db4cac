//! Settling the leases of gateways that died: exactly, from what their spool recorded.

use std::collections::BTreeMap;

use crate::{
    authority::{Authority, Discrepancy, HolderId, Now, Step, step::Work},
    clock::Mono,
    limit::{GatewayId, LeaseId},
};

/// Why the units of a settlement are all that there will ever be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The process is dead for sure (a newer one holds the lock of its spool) and its stream is complete.
    Dead,
    /// The stream was complete when it was observed. Leases that could still have been spent from then are left.
    Complete,
    /// The spool is lost for ever. What was granted stays charged as unaccounted, and is never billed.
    Lost,
}

/// What the records say about one life of one gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The gateway.
    pub gateway: GatewayId,
    /// Its life.
    pub epoch: u32,
    /// When completeness was observed, on the authority's clock: before the query for the units began.
    pub observed: Mono,
    /// Why nothing will be added.
    pub proof: Proof,
    /// Recorded units per lease; a lease that is absent has none.
    pub units: Vec<(LeaseId, u64)>,
}

/// A life of a gateway that left leases behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanStream {
    /// The gateway.
    pub gateway: GatewayId,
    /// Its life.
    pub epoch: u32,
    /// How many leases are not settled.
    pub leases: usize,
    /// With [`Proof::Complete`], all of them settle when observed at or after this.
    pub settle_after: Mono,
    /// A newer life has registered.
    pub superseded: bool,
}

impl Authority {
    /// Lives of gateways with leases that nobody will return: superseded ones, and ones not heard of for so long
    /// that all of their leases have expired.
    pub fn orphans(&self, now: Now) -> Vec<OrphanStream> {
        self.held.iter().filter_map(|(holder, leases)| self.orphan(holder, leases.len(), now)).collect()
    }

    fn orphan(&self, holder: &HolderId, leases: usize, now: Now) -> Option<OrphanStream> {
        let superseded = self.gateways.get(&holder.gateway).is_some_and(|known| known.epoch > holder.epoch);
        let settle_after = self.held.get(holder)?.iter().filter_map(|lease| self.deadline(*lease)).max()?;
        (superseded || settle_after < now.mono).then(|| OrphanStream {
            gateway: holder.gateway.clone(),
            epoch: holder.epoch,
            leases,
            settle_after,
            superseded,
        })
    }

    fn deadline(&self, lease: LeaseId) -> Option<Mono> {
        Some(self.accounts.get(self.leases.get(&lease)?)?.leases.get(&lease)?.deadline)
    }

    /// Settles what the facts allow: use becomes what was recorded, the rest of each lease is free again.
    pub fn settle(&mut self, facts: &Settlement, now: Now) -> Step {
        let mut work = Work::default();
        let holder = Self::holder(&facts.gateway, facts.epoch);
        let mut units: BTreeMap<LeaseId, u64> = BTreeMap::new();
        for (lease, more) in &facts.units {
            let sum = units.entry(*lease).or_default();
            *sum = sum.saturating_add(*more);
        }
        for lease in self.held.get(&holder).cloned().unwrap_or_default() {
            let settled = match facts.proof {
                Proof::Complete => self.deadline(lease).is_some_and(|deadline| deadline <= facts.observed),
                Proof::Dead | Proof::Lost => true,
            };
            if settled {
                let recorded = units.get(&lease).copied().unwrap_or(0);
                self.settle_lease(&holder, lease, recorded, facts.proof, &mut work);
            }
        }
        self.finish(work, now)
    }

    fn settle_lease(
        &mut self,
        holder: &HolderId,
        lease_id: LeaseId,
        recorded: u64,
        proof: Proof,
        work: &mut Work,
    ) {
        let Some((id, account)) = self.account_of(lease_id) else { return };
        let Some(lease) = account.leases.remove(&lease_id) else { return };
        let charge = lease.charge();
        if recorded > charge {
            let HolderId { gateway, epoch } = holder.clone();
            work.discrepancies.push(Discrepancy {
                lease: lease_id,
                gateway,
                epoch,
                expected: charge,
                found: recorded,
            });
        }
        account.settled = account.settled.saturating_add(recorded);
        if proof == Proof::Lost {
            account.unaccounted = account.unaccounted.saturating_add(charge.saturating_sub(recorded));
        }
        self.unlist(lease_id, holder);
        work.changed_lease(lease_id);
        work.changed_account(id);
    }
}
