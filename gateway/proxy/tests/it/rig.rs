//! A gateway process with its files, and ways to talk to it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gateway_proxy::{Analytics, Options, Process, Snapshots};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::analytics::{Row, Service, TOKEN};
use crate::snapshot::{Build, PLAIN, SECURE};

pub(crate) struct Rig {
    pub(crate) dir: TempDir,
    pub(crate) service: Service,
    options: Options,
    running: Option<Running>,
}

struct Running {
    admin: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Rig {
    /// A gateway that serves `build`.
    pub(crate) async fn start(build: &Build) -> Self {
        Self::start_with(build, |_| {}).await
    }

    pub(crate) async fn start_with(build: &Build, change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (service, address) = Service::start().await;
        let mut options =
            Options::new(Snapshots::File(dir.path().join("snapshot.json")), dir.path().join("state"));
        options.address = Ipv4Addr::LOCALHOST.into();
        options.threads = 2;
        options.analytics =
            Some(Analytics { url: format!("http://{address}"), token: TOKEN.into(), identity: None });
        change(&mut options);
        let mut rig = Self { dir, service, options, running: None };
        rig.write(build);
        rig.boot().await;
        rig.served(&build.0.version).await;
        rig
    }

    /// Starts the process (again), without waiting for a snapshot.
    pub(crate) async fn boot(&mut self) {
        let process = Process::start(self.options.clone()).await.unwrap();
        let (admin, shutdown) = (process.admin(), CancellationToken::new());
        let task = tokio::spawn(process.run(shutdown.clone()));
        self.running = Some(Running { admin, shutdown, task });
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("snapshot.json")
    }

    pub(crate) fn write(&self, build: &Build) {
        self.write_bytes(&serde_json::to_vec(&build.0).unwrap());
    }

    pub(crate) fn write_bytes(&self, bytes: &[u8]) {
        let temporary = self.dir.path().join("next.json");
        std::fs::write(&temporary, bytes).unwrap();
        std::fs::rename(temporary, self.path()).unwrap();
    }

    /// Writes a snapshot and waits until it is served.
    pub(crate) async fn apply(&self, build: &Build) {
        self.write(build);
        self.served(&build.0.version).await;
    }

    async fn served(&self, version: &str) {
        let answer = self.answer(version).await;
        assert_eq!(answer["accepted"], true, "{answer}");
    }

    /// The answer to a version, once it is there.
    pub(crate) async fn answer(&self, version: &str) -> Value {
        let path = self.dir.path().join("snapshot.json.ack.json");
        eventually(|| async {
            let answer: Value = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
            (answer["version"] == version).then_some(answer)
        })
        .await
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.running.as_ref().unwrap().admin
    }

    pub(crate) async fn status(&self) -> Value {
        reqwest::get(format!("http://{}/status", self.admin())).await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn port(&self, listener: &str) -> SocketAddr {
        let status = self.status().await;
        let address = status["listeners"][listener]["address"].as_str();
        address.unwrap_or_else(|| panic!("{listener} is not bound: {status}")).parse().unwrap()
    }

    pub(crate) async fn plain(&self) -> SocketAddr {
        self.port(PLAIN).await
    }

    pub(crate) async fn secure(&self) -> SocketAddr {
        self.port(SECURE).await
    }

    /// URL on the plain listener.
    pub(crate) async fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.plain().await)
    }

    pub(crate) fn begin_drain(&self) {
        self.running.as_ref().unwrap().shutdown.cancel();
    }

    /// Ends the process in good order.
    pub(crate) async fn drain(&mut self) {
        let running = self.running.take().unwrap();
        running.shutdown.cancel();
        running.task.await.unwrap();
    }

    pub(crate) async fn metrics(&self) -> String {
        let metrics = reqwest::get(format!("http://{}/metrics", self.admin())).await.unwrap();
        metrics.text().await.unwrap()
    }

    /// Ends the process and gives all records that arrived at the analytics service.
    pub(crate) async fn records(&mut self) -> Vec<Row> {
        let metrics = self.metrics().await;
        assert!(metrics.contains("late_records_total 0\n"), "an answer left before its record: {metrics}");
        self.drain().await;
        self.service.rows()
    }
}

/// Waits up to ten seconds for something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not happen within ten seconds");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Writes bytes as they are and reads until the other side closes.
pub(crate) async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(5), reading).await.expect("the connection stays open");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The `reason` of a refusal.
pub(crate) async fn reason(response: reqwest::Response) -> String {
    let body: Value = response.json().await.unwrap();
    body["reason"].as_str().unwrap_or_default().to_owned()
}
