//! Snapshots from operators, by one gRPC stream to each replica, opened again whenever it ends.
//!
//! In: whole snapshots and differences from one operator, the feeder. Out: whole ones for the process; what it serves is
//! told to all operators, so that whichever writes statuses knows. When the feeder is gone, another one feeds. Operators
//! may be away for any time: what is served stays.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gateway_snapshot::{Diff, Snapshot};
use http::Uri;
use tokio::sync::{Mutex, MutexGuard, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::{Answer, Candidate, Source};
use crate::in_flight::InFlight;
use proto::snapshots_client::SnapshotsClient;
use proto::{Hello, Report, report, update};

#[allow(clippy::pedantic, clippy::all, unreachable_pub, missing_debug_implementations, reason = "generated")]
mod proto {
    tonic::include_proto!("turnpike.snapshots.v1");
}

/// The name in the certificates of operators, whatever the address.
const OPERATOR_NAME: &str = "operator.turnpike";
/// Largest update, bytes.
const LARGEST: usize = 256 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(5);
/// A silent peer is asked this often, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The addresses of operators are asked for this often.
const LOOK_UP: Duration = Duration::from_secs(5);

/// Operators are told this often how much there is to do.
const MEASURE: Duration = Duration::from_secs(5);

/// Where snapshots come from in a cluster.
#[derive(Debug, Clone)]
pub struct Operator {
    /// `https://host:port`; each address of the host is an operator.
    pub url: String,
    /// `namespace/name` of the Gateway.
    pub fleet: String,
    /// Name of this process within the fleet: its Pod's.
    pub replica: String,
    /// Folder with `tls.crt`, `tls.key` and `ca.crt`; read again for each connection.
    pub identity: PathBuf,
}

/// The operators as a source.
pub(crate) struct StreamSource {
    candidates: mpsc::Receiver<Candidate>,
    answer: watch::Sender<Option<Answer>>,
}

impl StreamSource {
    /// Connects in the background, until the source is dropped.
    pub(crate) fn new(operator: Operator, in_flight: Arc<InFlight>) -> Self {
        let (sender, candidates) = mpsc::channel(1);
        let (answer, answers) = watch::channel(None);
        let feed = Arc::new(Feed { operator, in_flight, sender, received: Mutex::default() });
        tokio::spawn(follow_all(feed, answers));
        Self { candidates, answer }
    }
}

#[async_trait]
impl Source for StreamSource {
    async fn next(&mut self) -> Candidate {
        match self.candidates.recv().await {
            Some(candidate) => candidate,
            None => std::future::pending().await,
        }
    }

    async fn answer(&mut self, answer: &Answer) {
        self.answer.send_replace(Some(answer.clone()));
    }
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("identity in {0}: {1}")]
    Identity(PathBuf, std::io::Error),
    #[error("{0}")]
    Transport(#[from] tonic::transport::Error),
    #[error("{}", .0.message())]
    Status(#[from] tonic::Status),
    #[error("an update cannot be read: {0}")]
    Update(#[from] serde_json::Error),
    #[error("a difference came that does not follow what was given before")]
    Difference,
    #[error("the operator closed the stream")]
    Closed,
}

/// What the streams to all operators share.
struct Feed {
    operator: Operator,
    in_flight: Arc<InFlight>,
    sender: mpsc::Sender<Candidate>,
    /// What was given last, served or not: differences lead on from it. Locked by the stream that feeds.
    received: Mutex<Option<Arc<Snapshot>>>,
}

/// Keeps a stream to each operator there is.
async fn follow_all(feed: Arc<Feed>, answers: watch::Receiver<Option<Answer>>) {
    let known = watch::Sender::new(BTreeSet::new());
    let mut streams: BTreeMap<SocketAddr, JoinHandle<()>> = BTreeMap::new();
    let mut said = None;
    while !feed.sender.is_closed() {
        match addresses(&feed.operator.url).await {
            Ok(found) => {
                said = None;
                _ = known.send_replace(found);
            }
            Err(problem) if said.as_ref() == Some(&problem) => {}
            Err(problem) => {
                tracing::warn!(operator = feed.operator.url, error = problem, "no operator is found");
                said = Some(problem);
            }
        }
        streams.retain(|_, stream| !stream.is_finished());
        for address in known.borrow().iter().copied() {
            let follower = || Follower { feed: Arc::clone(&feed), address, answers: answers.clone() };
            let known = known.subscribe();
            streams.entry(address).or_insert_with(|| tokio::spawn(follower().run(known)));
        }
        tokio::select! {
            () = feed.sender.closed() => {}
            () = tokio::time::sleep(if streams.is_empty() { FIRST_PAUSE } else { LOOK_UP }) => {}
        }
    }
}

async fn addresses(url: &str) -> Result<BTreeSet<SocketAddr>, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{error}"))?;
    let host = uri.host().ok_or("the URL names no host")?.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(443);
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| error.to_string())?;
    Ok(found.collect())
}

struct Follower {
    feed: Arc<Feed>,
    address: SocketAddr,
    answers: watch::Receiver<Option<Answer>>,
}

impl Follower {
    /// Until nobody wants snapshots any more, or the stream has ended and the operator is no longer `known`.
    async fn run(mut self, known: watch::Receiver<BTreeSet<SocketAddr>>) {
        let mut pause = FIRST_PAUSE;
        let mut said = None;
        while !self.feed.sender.is_closed() && known.borrow().contains(&self.address) {
            let mut well = false;
            let feed = Arc::clone(&self.feed);
            let ended = if let Ok(received) = feed.received.try_lock() {
                self.follow(Some(received), &mut well).await
            } else {
                // Another one feeds. When it is gone, whoever waits longest goes on.
                tokio::select! {
                    ended = self.follow(None, &mut well) => ended,
                    received = feed.received.lock() => self.follow(Some(received), &mut well).await,
                }
            };
            let Err(ended) = ended else { return };
            if well {
                (pause, said) = (FIRST_PAUSE, None);
            }
            let text = ended.to_string();
            if said.as_ref() != Some(&text) {
                tracing::warn!(operator = %self.address, error = text, "the stream ended; what is served stays");
                said = Some(text);
            }
            tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One stream, which feeds if `received` is given. Ends without an error when nobody wants snapshots any more; `well`
    /// says that it had begun.
    async fn follow(
        &mut self,
        mut received: Option<MutexGuard<'_, Option<Arc<Snapshot>>>>,
        well: &mut bool,
    ) -> Result<(), Ended> {
        let mut client = SnapshotsClient::new(self.connect().await?).max_decoding_message_size(LARGEST);
        let (reports, outgoing) = mpsc::channel(4);
        let version = received.as_ref().and_then(|received| received.as_ref()).map(|s| s.version.clone());
        let hello = Hello {
            fleet: self.feed.operator.fleet.clone(),
            replica: self.feed.operator.replica.clone(),
            version: version.unwrap_or_default(),
            observe: received.is_none(),
        };
        let _ = reports.send(Report { report: Some(report::Report::Hello(hello)) }).await;
        let mut updates = client.follow(ReceiverStream::new(outgoing)).await?.into_inner();
        *well = true;
        // What is served now is told to every operator anew.
        self.answers.mark_changed();
        let mut measure = tokio::time::interval(MEASURE);
        loop {
            tokio::select! {
                _ = measure.tick() => {
                    let in_flight = &self.feed.in_flight;
                    let load = proto::Load { requests: in_flight.begun(), in_flight: in_flight.count() };
                    let load = report::Report::Load(load);
                    reports.send(Report { report: Some(load) }).await.map_err(|_| Ended::Closed)?;
                }
                update = updates.next() => {
                    let update = update.ok_or(Ended::Closed)??.update.ok_or(Ended::Closed)?;
                    let Some(received) = &mut received else { continue };
                    let candidate = candidate(received, update)?;
                    if self.feed.sender.send(candidate).await.is_err() {
                        return Ok(());
                    }
                }
                changed = self.answers.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let Some(answer) = self.answers.borrow_and_update().clone() else { continue };
                    let Answer { version, accepted, errors, .. } = answer;
                    let answer = report::Report::Answer(proto::Answer { version, accepted, errors });
                    reports.send(Report { report: Some(answer) }).await.map_err(|_| Ended::Closed)?;
                }
            }
        }
    }

    async fn connect(&self) -> Result<Channel, Ended> {
        let folder = &self.feed.operator.identity;
        let read = |name: &str| {
            let path = folder.join(name);
            async move { tokio::fs::read(&path).await.map_err(|error| Ended::Identity(path, error)) }
        };
        let (chain, key, ca) = (read("tls.crt").await?, read("tls.key").await?, read("ca.crt").await?);
        let tls = ClientTlsConfig::new()
            .identity(Identity::from_pem(chain, key))
            .ca_certificate(Certificate::from_pem(ca))
            .domain_name(OPERATOR_NAME);
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address))?
            .tls_config(tls)?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        Ok(endpoint.connect().await?)
    }
}

/// The whole that an update leads to. After an update that makes no sense nothing is left to lead on from.
fn candidate(received: &mut Option<Arc<Snapshot>>, update: update::Update) -> Result<Candidate, Ended> {
    let before = received.take();
    let after = match update {
        update::Update::Whole(json) => serde_json::from_slice(&json)?,
        update::Update::Difference(json) => {
            let difference: Diff = serde_json::from_slice(&json)?;
            let before = before.filter(|before| before.version == difference.from);
            Arc::unwrap_or_clone(before.ok_or(Ended::Difference)?).apply(difference)
        }
    };
    Ok(Candidate::Snapshot(Arc::clone(received.insert(Arc::new(after)))))
}
