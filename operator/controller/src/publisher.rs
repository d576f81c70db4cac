//! What each fleet is to serve, and which replica serves what.
//!
//! In: snapshots from the compiler, answers from gateways. Out: for each stream the newest snapshot; for statuses, which
//! generation of a Gateway has arrived at which replica. Holds no socket.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gateway_snapshot::{Catalog, Snapshot};
use operator_compile::resources::ObjectName;
use tokio::sync::{Notify, watch};

/// Versions of a fleet that are remembered: an answer to an older one says nothing any more.
const REMEMBERED: usize = 64;

/// What a replica told longer ago says nothing any more.
const FRESH: Duration = Duration::from_secs(20);

/// Shared by the loop and the streams.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    fleets: Mutex<BTreeMap<String, Fleet>>,
    pub(crate) catalog: watch::Sender<Arc<Catalog>>,
    /// Rung when a replica comes, answers or goes.
    pub(crate) heard: Notify,
}

/// Generations of Gateways.
pub(crate) type Generations = BTreeMap<ObjectName, i64>;

/// What was published.
#[derive(Debug)]
struct Version {
    name: String,
    /// Of the Gateways that it was compiled from.
    generations: Arc<Generations>,
    /// Names its certificates.
    certificates: u64,
}

#[derive(Debug)]
struct Fleet {
    current: watch::Sender<Option<Arc<Snapshot>>>,
    /// The newest last.
    versions: VecDeque<Version>,
    replicas: BTreeMap<String, Replica>,
}

impl Default for Fleet {
    fn default() -> Self {
        Self { current: watch::Sender::new(None), versions: VecDeque::new(), replicas: BTreeMap::new() }
    }
}

#[derive(Debug, Default)]
struct Replica {
    /// Tells a stream from an earlier one of the same replica.
    session: u64,
    /// Version that it serves.
    serves: String,
    complaints: Vec<String>,
    load: Option<Load>,
}

/// What a replica, or a fleet, has to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    /// Requests that have begun so far.
    requests: u64,
    /// Requests that run.
    pub(crate) in_flight: u64,
    /// Requests in a second, over the last interval.
    pub(crate) per_second: f64,
    at: Instant,
}

impl Load {
    /// After `before`, what was measured at `at`. Before two measurements, and after a restart, there is no rate.
    fn measured(before: Option<&Self>, requests: u64, in_flight: u64, at: Instant) -> Self {
        let between = before.map(|before| (before, at.saturating_duration_since(before.at).as_secs_f64()));
        let rate = between.filter(|(before, seconds)| *seconds > 0.5 && requests >= before.requests);
        let per_second = rate.map_or(0.0, |(before, seconds)| (requests - before.requests) as f64 / seconds);
        Self { requests, in_flight, per_second, at }
    }
}

/// What became of an update at a replica.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) version: String,
    pub(crate) accepted: bool,
    pub(crate) errors: Vec<String>,
}

/// What is known of a replica.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Serves {
    /// Generations of the Gateways in what it serves, as far as they are known.
    pub(crate) generations: Arc<Generations>,
    /// Hash of the certificates that it serves; none: not known.
    pub(crate) certificates: Option<u64>,
    /// Why it does not serve what it was given last, or what of it does not work.
    pub(crate) complaints: Vec<String>,
}

impl Publisher {
    fn fleets(&self) -> MutexGuard<'_, BTreeMap<String, Fleet>> {
        self.fleets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a fleet something to serve. The same version again only says that it holds for newer Gateways, too.
    pub(crate) fn publish(&self, fleet: &str, snapshot: &Arc<Snapshot>, generations: Generations) {
        let mut fleets = self.fleets();
        let fleet = fleets.entry(fleet.to_owned()).or_default();
        fleet.versions.retain(|known| known.name != snapshot.version);
        fleet.versions.push_back(Version {
            name: snapshot.version.clone(),
            generations: generations.into(),
            certificates: snapshot.certificates.hash(),
        });
        if fleet.versions.len() > REMEMBERED {
            fleet.versions.pop_front();
        }
        fleet.current.send_if_modified(|current| {
            let new = current.as_ref().is_none_or(|current| current.version != snapshot.version);
            if new {
                *current = Some(Arc::clone(snapshot));
            }
            new
        });
    }

    /// Forgets fleets.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.fleets().retain(|fleet, _| keep(fleet));
    }

    /// What a fleet is to serve from now on.
    pub(crate) fn follow(&self, fleet: &str) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.fleets().entry(fleet.to_owned()).or_default().current.subscribe()
    }

    /// A replica has come.
    pub(crate) fn joined(&self, fleet: &str, replica: &str, session: u64) {
        let state = Replica { session, ..Replica::default() };
        self.fleets().entry(fleet.to_owned()).or_default().replicas.insert(replica.to_owned(), state);
        self.heard.notify_one();
    }

    /// A replica has answered.
    pub(crate) fn answered(&self, fleet: &str, replica: &str, session: u64, answer: Answer) {
        self.with(fleet, replica, session, |state| {
            if answer.accepted {
                state.serves = answer.version;
            }
            state.complaints = answer.errors;
        });
    }

    /// A replica has told what it has to do.
    pub(crate) fn measured(
        &self,
        fleet: &str,
        replica: &str,
        session: u64,
        (requests, in_flight): (u64, u64),
        at: Instant,
    ) {
        let mut fleets = self.fleets();
        let state = fleets.get_mut(fleet).and_then(|fleet| fleet.replicas.get_mut(replica));
        if let Some(state) = state.filter(|state| state.session == session) {
            state.load = Some(Load::measured(state.load.as_ref(), requests, in_flight, at));
        }
    }

    /// What all replicas of a fleet together have to do, if any of them has told lately.
    pub(crate) fn load(&self, fleet: &str, now: Instant) -> Option<Load> {
        let fleets = self.fleets();
        let loads = fleets.get(fleet)?.replicas.values().filter_map(|replica| replica.load);
        let fresh = loads.filter(|load| now.saturating_duration_since(load.at) < FRESH);
        fresh.reduce(|one, other| Load {
            requests: one.requests.saturating_add(other.requests),
            in_flight: one.in_flight.saturating_add(other.in_flight),
            per_second: one.per_second + other.per_second,
            at: one.at.min(other.at),
        })
    }

    /// A replica's stream has ended.
    pub(crate) fn left(&self, fleet: &str, replica: &str, session: u64) {
        let mut fleets = self.fleets();
        if let Some(replicas) = fleets.get_mut(fleet).map(|fleet| &mut fleet.replicas)
            && replicas.get(replica).is_some_and(|state| state.session == session)
        {
            replicas.remove(replica);
            self.heard.notify_one();
        }
    }

    fn with(&self, fleet: &str, replica: &str, session: u64, change: impl FnOnce(&mut Replica)) {
        let mut fleets = self.fleets();
        let state = fleets.get_mut(fleet).and_then(|fleet| fleet.replicas.get_mut(replica));
        if let Some(state) = state.filter(|state| state.session == session) {
            change(state);
            self.heard.notify_one();
        }
    }

    /// What every connected replica of a fleet serves, by name.
    pub(crate) fn serving(&self, fleet: &str) -> BTreeMap<String, Serves> {
        let fleets = self.fleets();
        let Some(fleet) = fleets.get(fleet) else { return BTreeMap::new() };
        let serves = |state: &Replica| {
            let known = fleet.versions.iter().rev().find(|known| known.name == state.serves);
            Serves {
                generations: known.map(|known| Arc::clone(&known.generations)).unwrap_or_default(),
                certificates: known.map(|known| known.certificates),
                complaints: state.complaints.clone(),
            }
        };
        fleet.replicas.iter().map(|(name, state)| (name.clone(), serves(state))).collect()
    }
}

#[cfg(test)]
mod tests;
