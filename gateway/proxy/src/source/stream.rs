//! Snapshots from an operator, by one gRPC stream that is opened again whenever it ends.
//!
//! In: whole snapshots and differences. Out: whole ones for the process; its answer to each goes back. The operator may
//! be away for any time: what is served stays.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use gateway_snapshot::{Diff, Snapshot};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::{Answer, Source};
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

/// Where snapshots come from in a cluster.
#[derive(Debug, Clone)]
pub struct Operator {
    /// `https://host:port`.
    pub url: String,
    /// `namespace/name` of the Gateway.
    pub fleet: String,
    /// Name of this process within the fleet: its Pod's.
    pub replica: String,
    /// Folder with `tls.crt`, `tls.key` and `ca.crt`; read again for each connection.
    pub identity: PathBuf,
}

/// The operator as a source.
pub(crate) struct StreamSource {
    candidates: mpsc::Receiver<Vec<u8>>,
    answer: watch::Sender<Option<Answer>>,
}

impl StreamSource {
    /// Connects in the background, until the source is dropped.
    pub(crate) fn new(operator: Operator) -> Self {
        let (sender, candidates) = mpsc::channel(1);
        let (answer, answers) = watch::channel(None);
        tokio::spawn(Follower { operator, sender, answers, received: None }.run());
        Self { candidates, answer }
    }
}

#[async_trait]
impl Source for StreamSource {
    async fn next(&mut self) -> Vec<u8> {
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

struct Follower {
    operator: Operator,
    sender: mpsc::Sender<Vec<u8>>,
    answers: watch::Receiver<Option<Answer>>,
    /// What was given last, served or not: differences lead on from it.
    received: Option<Snapshot>,
}

impl Follower {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        let mut said = None;
        while !self.sender.is_closed() {
            let before = self.received.as_ref().map(|snapshot| snapshot.version.clone());
            let Err(ended) = self.follow().await else { return };
            if matches!(ended, Ended::Update(_) | Ended::Difference) {
                self.received = None;
            }
            let text = ended.to_string();
            if said.as_ref() != Some(&text) {
                tracing::warn!(
                    operator = self.operator.url,
                    error = text,
                    "no snapshots; what is served stays"
                );
                said = Some(text);
            }
            if self.received.as_ref().map(|snapshot| snapshot.version.clone()) != before {
                pause = FIRST_PAUSE;
                said = None;
            }
            tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One stream. Ends without an error when nobody wants snapshots any more.
    async fn follow(&mut self) -> Result<(), Ended> {
        let mut client = SnapshotsClient::new(self.connect().await?).max_decoding_message_size(LARGEST);
        let (reports, outgoing) = mpsc::channel(4);
        let hello = Hello {
            fleet: self.operator.fleet.clone(),
            replica: self.operator.replica.clone(),
            version: self.received.as_ref().map(|snapshot| snapshot.version.clone()).unwrap_or_default(),
        };
        let _ = reports.send(Report { report: Some(report::Report::Hello(hello)) }).await;
        let mut updates = client.follow(ReceiverStream::new(outgoing)).await?.into_inner();
        // What is served now is told to every operator anew.
        self.answers.mark_changed();
        loop {
            tokio::select! {
                update = updates.next() => {
                    let update = update.ok_or(Ended::Closed)??.update.ok_or(Ended::Closed)?;
                    let candidate = self.candidate(update)?;
                    if self.sender.send(candidate).await.is_err() {
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

    fn candidate(&mut self, update: update::Update) -> Result<Vec<u8>, Ended> {
        match update {
            update::Update::Whole(json) => {
                self.received = Some(serde_json::from_slice(&json)?);
                Ok(json)
            }
            update::Update::Difference(json) => {
                let difference: Diff = serde_json::from_slice(&json)?;
                let before = self.received.take().filter(|before| before.version == difference.from);
                let after = before.ok_or(Ended::Difference)?.apply(difference);
                let json = serde_json::to_vec(&after)?;
                self.received = Some(after);
                Ok(json)
            }
        }
    }

    async fn connect(&self) -> Result<Channel, Ended> {
        let folder = &self.operator.identity;
        let read = |name: &str| {
            let path = folder.join(name);
            async move { tokio::fs::read(&path).await.map_err(|error| Ended::Identity(path, error)) }
        };
        let (chain, key, ca) = (read("tls.crt").await?, read("tls.key").await?, read("ca.crt").await?);
        let tls = ClientTlsConfig::new()
            .identity(Identity::from_pem(chain, key))
            .ca_certificate(Certificate::from_pem(ca))
            .domain_name(OPERATOR_NAME);
        let endpoint = Endpoint::from_shared(self.operator.url.clone())?
            .tls_config(tls)?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        Ok(endpoint.connect().await?)
    }
}
