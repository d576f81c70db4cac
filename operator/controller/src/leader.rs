//! Which of several operators writes: the holder of a Lease (coordination.k8s.io).
//!
//! All of them compile and feed gateways; one makes children and writes statuses. [`Election`] decides and holds no clock
//! but what it is given; the rest reads and writes the Lease. Another holder's Lease counts as expired when it was not
//! renewed for its duration by our own clock, since clocks of machines may differ.

use std::time::Duration;

use crds::k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use crds::k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use crds::k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio::time::Instant;

/// Name of the Lease.
const LEASE: &str = "turnpike-operator";
/// Others may take the Lease when it was not renewed for so long.
const DURATION: Duration = Duration::from_secs(15);
/// The holder writes no more when it could not renew for so long.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at the Lease.
const PERIOD: Duration = Duration::from_secs(2);

/// What the Lease says; by its resource version one look is told from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    holder: String,
    version: String,
}

/// What to do about the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Write it: it is ours, or free.
    Hold,
    /// Look again later.
    Wait,
}

/// One operator's part in the election.
#[derive(Debug)]
struct Election {
    identity: String,
    /// What was seen last, and since when it has not changed.
    seen: Option<(Seen, Instant)>,
    /// The start of the last renewal that went well.
    renewed: Option<Instant>,
}

impl Election {
    fn new(identity: String) -> Self {
        Self { identity, seen: None, renewed: None }
    }

    fn step(&mut self, lease: Option<&Seen>, now: Instant) -> Step {
        let Some(lease) = lease else { return Step::Hold };
        if lease.holder.is_empty() || lease.holder == self.identity {
            return Step::Hold;
        }
        self.renewed = None;
        match &self.seen {
            Some((seen, since)) if seen == lease => {
                if now.duration_since(*since) > DURATION {
                    Step::Hold
                } else {
                    Step::Wait
                }
            }
            _ => {
                self.seen = Some((lease.clone(), now));
                Step::Wait
            }
        }
    }

    fn leads(&self, now: Instant) -> bool {
        self.renewed.is_some_and(|renewed| now.duration_since(renewed) < DEADLINE)
    }
}

/// Takes part in the election.
pub(crate) struct Leader {
    api: Api<Lease>,
    election: Election,
    leads: watch::Sender<bool>,
}

impl Leader {
    /// Nobody leads yet. `identity` must differ from those of all other operators.
    pub(crate) fn new(client: kube::Client, namespace: &str, identity: String) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, election: Election::new(identity), leads: watch::Sender::new(false) }
    }

    /// Whether we lead.
    pub(crate) fn leads(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Gets the Lease and keeps it, for ever.
    pub(crate) async fn run(&mut self) {
        let mut said = None;
        loop {
            let begun = Instant::now();
            let attempt = tokio::time::timeout(PERIOD * 2, self.attempt(begun)).await;
            let problem = match attempt {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("the API server does not answer".to_owned()),
            };
            if let Some(error) = problem.as_ref().filter(|_| problem != said) {
                tracing::warn!(error, "the Lease {LEASE} cannot be had");
            }
            said = problem;
            self.tell();
            tokio::time::sleep(PERIOD).await;
            self.tell();
        }
    }

    fn tell(&self) {
        let leads = self.election.leads(Instant::now());
        self.leads.send_if_modified(|before| {
            let changed = *before != leads;
            *before = leads;
            if changed {
                tracing::info!(
                    leads,
                    "children and statuses are {}",
                    if leads { "ours" } else { "another's" }
                );
            }
            changed
        });
    }

    async fn attempt(&mut self, now: Instant) -> kube::Result<()> {
        let lease = self.api.get_opt(LEASE).await?;
        if self.election.step(lease.as_ref().map(seen).as_ref(), now) == Step::Hold {
            let lease = held(lease.unwrap_or_default(), &self.election.identity, Timestamp::now());
            match self.write(&lease).await {
                // Another one was faster.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                written => {
                    written?;
                    self.election.renewed = Some(now);
                }
            }
        }
        Ok(())
    }

    async fn write(&self, lease: &Lease) -> kube::Result<Lease> {
        let params = PostParams::default();
        match lease.metadata.resource_version {
            Some(_) => self.api.replace(LEASE, &params, lease).await,
            None => self.api.create(&params, lease).await,
        }
    }

    /// Gives the Lease back, so that nobody has to wait for its end.
    pub(crate) async fn release(mut self) {
        if !self.election.leads(Instant::now()) {
            return;
        }
        self.election.renewed = None;
        self.tell();
        if !matches!(tokio::time::timeout(PERIOD, self.give_back()).await, Ok(Ok(()))) {
            tracing::warn!(
                "the Lease {LEASE} could not be given back; another operator takes over when it ends"
            );
        }
    }

    async fn give_back(&self) -> kube::Result<()> {
        let Some(mut lease) = self.api.get_opt(LEASE).await? else { return Ok(()) };
        if seen(&lease).holder == self.election.identity {
            lease.spec.get_or_insert_default().holder_identity = Some(String::new());
            self.write(&lease).await?;
        }
        Ok(())
    }
}

fn seen(lease: &Lease) -> Seen {
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
    Seen {
        holder: holder.unwrap_or_default(),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}

/// `lease` in the hands of `identity`, renewed `now`.
fn held(lease: Lease, identity: &str, now: Timestamp) -> Lease {
    let mut spec = lease.spec.unwrap_or_default();
    if spec.holder_identity.as_deref() != Some(identity) {
        spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count + 1));
        spec.acquire_time = Some(MicroTime(now));
    }
    Lease {
        metadata: ObjectMeta { name: Some(LEASE.to_owned()), ..lease.metadata },
        spec: Some(LeaseSpec {
            holder_identity: Some(identity.to_owned()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            renew_time: Some(MicroTime(now)),
            ..spec
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: u32) -> Seen {
        Seen { holder: holder.to_owned(), version: version.to_string() }
    }

    #[test]
    fn a_free_lease_is_taken_and_our_own_is_renewed() {
        let (mut election, now) = (Election::new("a".to_owned()), Instant::now());
        assert_eq!(election.step(None, now), Step::Hold);
        assert_eq!(election.step(Some(&lease("", 1)), now), Step::Hold);
        assert_eq!(election.step(Some(&lease("a", 2)), now), Step::Hold);
    }

    #[test]
    fn anothers_lease_is_taken_once_it_was_not_renewed_for_its_duration_by_our_clock() {
        let (mut election, start) = (Election::new("a".to_owned()), Instant::now());
        assert_eq!(election.step(Some(&lease("b", 1)), start), Step::Wait);
        assert_eq!(election.step(Some(&lease("b", 1)), start + DURATION), Step::Wait);
        // Renewed in the meantime: the time begins anew.
        let renewed = start + DURATION + PERIOD;
        assert_eq!(election.step(Some(&lease("b", 2)), renewed), Step::Wait);
        assert_eq!(election.step(Some(&lease("b", 2)), renewed + DURATION), Step::Wait);
        assert_eq!(election.step(Some(&lease("b", 2)), renewed + DURATION + PERIOD), Step::Hold);
    }

    #[test]
    fn who_cannot_renew_stops_before_another_may_begin() {
        let (mut election, start) = (Election::new("a".to_owned()), Instant::now());
        election.renewed = Some(start);
        assert!(election.leads(start + DEADLINE / 2) && !election.leads(start + DEADLINE));
        // The Lease is another's: that is known at once.
        election.renewed = Some(start + DEADLINE);
        assert_eq!(election.step(Some(&lease("b", 1)), start + DEADLINE), Step::Wait);
        assert!(!election.leads(start + DEADLINE));
    }
}
