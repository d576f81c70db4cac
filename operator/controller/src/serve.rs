//! The server of snapshots: who may follow what, and one task for each stream.
//!
//! In: connections with certificates of our CA. Out: updates, each leading on from the one before. A gateway is given the
//! fleet that its certificate names and no other.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::{Stream, StreamExt};
use gateway_snapshot::Snapshot;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, WatchStream};
use tonic::{Request, Response, Status, Streaming};

use crate::identity::{ANALYTICS, fleet_uri, uri_of};
use crate::publisher::{Answer, Publisher};
use proto::snapshots_server::{Snapshots, SnapshotsServer};
use proto::{CatalogsRequest, Hello, Report, Update, report, update};

#[allow(clippy::pedantic, clippy::all, unreachable_pub, missing_debug_implementations, reason = "generated")]
mod proto {
    tonic::include_proto!("turnpike.snapshots.v1");
}

/// Largest report: a few thousand errors.
const LARGEST: usize = 4 << 20;
/// Longest name, and most errors that are kept of an answer.
const MAX_NAME: usize = 512;
const MAX_ERRORS: usize = 16;

/// Streams of one operator.
#[derive(Debug)]
pub(crate) struct Server {
    publisher: Arc<Publisher>,
    sessions: AtomicU64,
}

impl Server {
    /// The gRPC service.
    pub(crate) fn service(publisher: Arc<Publisher>) -> SnapshotsServer<Self> {
        SnapshotsServer::new(Self { publisher, sessions: AtomicU64::new(0) })
            .max_decoding_message_size(LARGEST)
    }
}

type Updates = Pin<Box<dyn Stream<Item = Result<Update, Status>> + Send>>;

#[tonic::async_trait]
impl Snapshots for Server {
    type FollowStream = Updates;
    type CatalogsStream = Updates;

    async fn follow(&self, request: Request<Streaming<Report>>) -> Result<Response<Updates>, Status> {
        let uri = peer(&request)?;
        let mut reports = request.into_inner();
        let first = reports.message().await?.and_then(|report| report.report);
        let Some(report::Report::Hello(hello)) = first else {
            return Err(Status::invalid_argument("the first report must be a Hello"));
        };
        if hello.fleet.len() > MAX_NAME || hello.replica.len() > MAX_NAME || hello.replica.is_empty() {
            return Err(Status::invalid_argument("fleet and replica must be names"));
        }
        if uri != fleet_uri(&hello.fleet) {
            return Err(Status::permission_denied(format!(
                "the certificate is for {uri}, not for fleet {}",
                hello.fleet
            )));
        }
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        self.publisher.joined(&hello.fleet, &hello.replica, session);
        tracing::info!(fleet = hello.fleet, replica = hello.replica, "a gateway follows");
        let (updates, outgoing) = mpsc::channel(1);
        tokio::spawn(stream(Arc::clone(&self.publisher), hello, session, reports, updates));
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn catalogs(&self, request: Request<CatalogsRequest>) -> Result<Response<Updates>, Status> {
        let uri = peer(&request)?;
        if uri != ANALYTICS {
            return Err(Status::permission_denied(format!(
                "the certificate is for {uri}, not for analytics"
            )));
        }
        let catalogs = WatchStream::new(self.publisher.catalog.subscribe());
        // Before the first compilation there is nothing to tell.
        let known = catalogs.filter(|catalog| std::future::ready(!catalog.version.is_empty()));
        Ok(Response::new(Box::pin(known.map(|catalog| Ok(whole(&*catalog))))))
    }
}

/// The URI in the client's certificate, which the TLS layer has verified.
fn peer<T>(request: &Request<T>) -> Result<String, Status> {
    let chain = request.peer_certs();
    let leaf = chain.as_ref().and_then(|chain| chain.first());
    leaf.and_then(|leaf| uri_of(leaf)).ok_or_else(|| Status::unauthenticated("no certificate with a URI"))
}

/// One stream, until the gateway or the operator ends it.
async fn stream(
    publisher: Arc<Publisher>,
    hello: Hello,
    session: u64,
    mut reports: Streaming<Report>,
    updates: mpsc::Sender<Result<Update, Status>>,
) {
    let mut current = publisher.follow(&hello.fleet);
    current.mark_changed();
    let mut sent: Option<Arc<Snapshot>> = None;
    loop {
        tokio::select! {
            changed = current.changed(), if !hello.observe => {
                if changed.is_err() || !send(&mut current, &hello, &mut sent, &updates).await {
                    break;
                }
            }
            report = reports.message() => match report {
                Ok(Some(Report { report: Some(report::Report::Answer(answer)) })) => {
                    publisher.answered(&hello.fleet, &hello.replica, session, bounded(answer));
                }
                Ok(Some(Report { report: Some(report::Report::Load(load)) })) => {
                    let measured = (load.requests, load.in_flight);
                    publisher.measured(&hello.fleet, &hello.replica, session, measured, Instant::now());
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }
    publisher.left(&hello.fleet, &hello.replica, session);
    tracing::info!(fleet = hello.fleet, replica = hello.replica, "a gateway follows no more");
}

/// Sends what leads to the newest snapshot; whether the stream lives.
async fn send(
    current: &mut watch::Receiver<Option<Arc<Snapshot>>>,
    hello: &Hello,
    sent: &mut Option<Arc<Snapshot>>,
    updates: &mpsc::Sender<Result<Update, Status>>,
) -> bool {
    let Some(newest) = current.borrow_and_update().clone() else { return true };
    let update = match sent {
        // It has this one from an earlier stream.
        None if newest.version == hello.version => None,
        None => Some(whole(&*newest)),
        Some(before) if before.version == newest.version => None,
        Some(before) => {
            Some(Update { update: Some(update::Update::Difference(json(&before.diff(&newest)))) })
        }
    };
    *sent = Some(newest);
    match update {
        Some(update) => updates.send(Ok(update)).await.is_ok(),
        None => true,
    }
}

fn whole(value: &impl serde::Serialize) -> Update {
    Update { update: Some(update::Update::Whole(json(value))) }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("snapshots and catalogs have string keys only")
}

fn bounded(answer: proto::Answer) -> Answer {
    let cut = |mut error: String| {
        error.truncate(error.floor_char_boundary(MAX_NAME));
        error
    };
    let errors = answer.errors.into_iter().take(MAX_ERRORS).map(cut).collect();
    Answer { version: answer.version, accepted: answer.accepted, errors }
}
