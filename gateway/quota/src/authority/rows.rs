//! What the authority keeps durable, row by row.
//!
//! A store is one table from [`Row::id`] to the row. Reports alone change no row, so most batches need no commit.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    authority::{Authority, Gateway, Now, account::Account, account::Lease},
    clock::Mono,
    limit::{GatewayId, LeaseId, LimitId, QuotaKey},
    message::millis,
    window::Window,
};

/// One change of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Put the row under [`Row::id`].
    Put(Row),
    /// Delete the row of this id.
    Drop(String),
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Row {
    /// A version of a limit.
    Limit(LimitRow),
    /// The newest life of a gateway.
    Gateway(GatewayRow),
    /// A key in a window.
    Account(AccountRow),
    /// A lease that is not settled.
    Lease(LeaseRow),
    /// Windows that may not be opened again.
    Floor(FloorRow),
    /// The next lease's number.
    NextLease(u64),
}

/// A key in a window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountId {
    /// What is counted.
    pub key: QuotaKey,
    /// In which window.
    pub window: Window,
}

/// A version of a limit: grows by one with each change of the quantity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitRow {
    /// The limit.
    pub limit: LimitId,
    /// Its version, from 1.
    pub version: u64,
    /// Its quantity in this version.
    pub quantity: u64,
}

/// The newest life of a gateway: older ones are fenced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayRow {
    /// The gateway.
    pub gateway: GatewayId,
    /// Its newest epoch.
    pub epoch: u32,
}

/// What is settled of a key in a window, and which thresholds have fired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRow {
    /// Which.
    pub account: AccountId,
    /// Units of settled leases.
    pub settled: u64,
    /// Units charged that no record will ever show.
    pub unaccounted: u64,
    /// The version of the limit that `fired` belongs to.
    pub version: u64,
    /// Thresholds that have fired.
    pub fired: Vec<u8>,
}

/// A lease that is not settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRow {
    /// The lease.
    pub lease: LeaseId,
    /// What it counts against.
    pub account: AccountId,
    /// Its holder.
    pub gateway: GatewayId,
    /// The holder's life.
    pub epoch: u32,
    /// Units granted since it began.
    pub granted: u64,
    /// Units given back.
    pub returned: u64,
    /// Units spent, when the row was written.
    pub spent: u64,
    /// The holder has returned it.
    pub closed: bool,
    /// Its time to live in milliseconds.
    pub ttl_ms: u64,
}

/// No window of the limit that ends at or before `end` may be opened again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FloorRow {
    /// The limit.
    pub limit: LimitId,
    /// The latest end of a window that was forgotten.
    pub end: Timestamp,
}

/// Separates the parts of an id; no name that Kubernetes allows contains it.
const SEPARATOR: char = '\u{1f}';

impl Row {
    /// The name of the row in the store.
    pub fn id(&self) -> String {
        match self {
            Self::Limit(row) => format!("limit{SEPARATOR}{}", row.limit),
            Self::Gateway(row) => format!("gateway{SEPARATOR}{}", row.gateway),
            Self::Account(row) => row.account.row_id(),
            Self::Lease(row) => lease_row_id(row.lease),
            Self::Floor(row) => format!("floor{SEPARATOR}{}", row.limit),
            Self::NextLease(_) => "next-lease".to_owned(),
        }
    }
}

impl AccountId {
    pub(super) fn row_id(&self) -> String {
        let QuotaKey { limit, subject } = &self.key;
        let Window { start, end } = self.window;
        format!("account{SEPARATOR}{limit}{SEPARATOR}{subject}{SEPARATOR}{start}{SEPARATOR}{end}")
    }
}

pub(super) fn lease_row_id(lease: LeaseId) -> String {
    format!("lease{SEPARATOR}{lease}")
}

impl Authority {
    /// Takes in one row of the store.
    pub(super) fn load(&mut self, row: Row, now: Now) {
        match row {
            Row::Limit(row) => {
                self.versions.insert(row.limit.clone(), row);
            }
            Row::Gateway(row) => {
                let gateway = Gateway { epoch: row.epoch, seen: now.mono, searched: Mono::ZERO };
                self.gateways.insert(row.gateway, gateway);
            }
            Row::Account(row) => {
                // Its leases may have been loaded before it.
                let account = self.accounts.entry(row.account).or_default();
                (account.settled, account.unaccounted) = (row.settled, row.unaccounted);
                (account.version, account.fired) = (row.version, row.fired);
            }
            Row::Lease(row) => self.load_lease(row, now),
            Row::Floor(row) => {
                self.floors.insert(row.limit, row.end);
            }
            Row::NextLease(next) => self.next_lease = next.max(1),
        }
    }

    fn load_lease(&mut self, row: LeaseRow, now: Now) {
        let holder = Self::holder(&row.gateway, row.epoch);
        let ttl = Duration::from_millis(row.ttl_ms);
        let lease = Lease {
            holder: holder.clone(),
            granted: row.granted,
            returned: row.returned.min(row.granted),
            spent: row.spent,
            closed: row.closed,
            deadline: self.config.bound.authority_deadline(now.mono, ttl.max(self.config.ttl)),
            ttl,
            recall: false,
        };
        self.held.entry(holder).or_default().insert(row.lease);
        self.leases.insert(row.lease, row.account.clone());
        self.accounts.entry(row.account).or_default().leases.insert(row.lease, lease);
    }

    pub(super) fn account_row(id: &AccountId, account: &Account) -> Row {
        Row::Account(AccountRow {
            account: id.clone(),
            settled: account.settled,
            unaccounted: account.unaccounted,
            version: account.version,
            fired: account.fired.clone(),
        })
    }

    pub(super) fn lease_row(&self, id: LeaseId) -> Option<Row> {
        let account = self.leases.get(&id)?;
        let lease = self.accounts.get(account)?.leases.get(&id)?;
        Some(Row::Lease(LeaseRow {
            lease: id,
            account: account.clone(),
            gateway: lease.holder.gateway.clone(),
            epoch: lease.holder.epoch,
            granted: lease.granted,
            returned: lease.returned,
            spent: lease.spent,
            closed: lease.closed,
            ttl_ms: millis(lease.ttl),
        }))
    }
}
