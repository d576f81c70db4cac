//! A running service and a client for it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use analytics_service::{CatalogSource, Error, Options, run};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

pub(crate) const TOKEN: &str = "a-token-for-tests-only";
/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Service {
    pub(crate) base: String,
    pub(crate) database: String,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
    http: reqwest::Client,
}

/// A database that no other test uses.
pub(crate) fn database(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test_{name}_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Service {
    /// A service on the shared engine.
    pub(crate) async fn start(name: &str, folder: &Path) -> Self {
        let url = tokio::task::spawn_blocking(|| Engine::shared().url()).await.unwrap();
        Self::start_on(&url, &database(name), folder, true).await
    }

    /// A service on a given engine and database; its catalog is `catalog.json` in `folder`.
    pub(crate) async fn start_on(url: &str, database: &str, folder: &Path, fresh: bool) -> Self {
        Self::start_with(url, database, folder, |options| options.fresh_store = fresh).await
    }

    /// A service with options of its own.
    pub(crate) async fn start_with(
        url: &str,
        database: &str,
        folder: &Path,
        set: impl FnOnce(&mut Options),
    ) -> Self {
        // Silent unless RUST_LOG asks; only the first of all tests sets it up.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let mut options = Options::new(TOKEN, url, folder);
        options.database = database.to_owned();
        options.catalog = Some(CatalogSource::File(folder.join("catalog.json")));
        set(&mut options);
        let shutdown = CancellationToken::new();
        let (say, bound) = tokio::sync::oneshot::channel::<SocketAddr>();
        let stop = shutdown.clone();
        let task = tokio::spawn(run(options, stop, move |address| say.send(address).unwrap()));
        let address = bound.await.expect("the service starts");
        let http = reqwest::Client::new();
        let base = format!("http://{address}");
        Self { base, database: database.to_owned(), shutdown, task, http }
    }

    pub(crate) async fn ready(&self) {
        self.until("the service is ready", async || {
            let answer = self.http.get(format!("{}/readyz", self.base)).send().await.ok()?;
            (answer.status() == StatusCode::OK).then_some(())
        })
        .await;
    }

    /// Asks until there is an answer.
    pub(crate) async fn until<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "in vain: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(TOKEN)
    }

    pub(crate) async fn bytes(&self, path: &str) -> Vec<u8> {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        let status = answer.status();
        let body = answer.bytes().await.unwrap().to_vec();
        assert_eq!(status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&body));
        body
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        serde_json::from_slice(&self.bytes(path).await).unwrap()
    }

    /// Status and body of an answer that is an error.
    pub(crate) async fn problem(&self, path: &str) -> (u16, Value) {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap())
    }

    pub(crate) async fn post(&self, path: &str, body: &impl serde::Serialize) -> (u16, Value) {
        let answer = self.request(Method::POST, path).json(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}
