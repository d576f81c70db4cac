//! HTTP to the analytics service: JSON in, JSON out, with a token and a time limit. Never retries by itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::options::Analytics;

/// For one message; segments may take longer on a slow store.
const PATIENCE: Duration = Duration::from_secs(2);
const SEGMENT_PATIENCE: Duration = Duration::from_secs(35);
/// Longest answer that is read.
const LONGEST: usize = 8 << 20;

/// The service did not give a usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// No connection, or no answer in time.
    #[error("no answer: {0}")]
    Away(#[source] reqwest::Error),
    /// Another status than 200.
    #[error("status {0}")]
    Status(u16),
    /// An answer that is not what was agreed on.
    #[error("an answer that cannot be used: {0}")]
    Answer(String),
}

/// The service; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    /// With the time of the certificate that it shows.
    client: Arc<Mutex<(Option<SystemTime>, reqwest::Client)>>,
    options: Analytics,
}

/// The client for the analytics service cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of the identity cannot be read.
    #[error("identity {0}: {1}")]
    Identity(PathBuf, std::io::Error),
    /// It can be read, but not used.
    #[error(transparent)]
    Client(#[from] reqwest::Error),
}

impl Service {
    /// The service at an address.
    pub(crate) fn new(options: &Analytics) -> Result<Self, ClientError> {
        let url = options.url.trim_end_matches('/').to_owned();
        let client = client(options.identity.as_deref())?;
        let shown = shown(options);
        Ok(Self {
            client: Arc::new(Mutex::new((shown, client))),
            options: Analytics { url, ..options.clone() },
        })
    }

    /// The client, made anew when the identity's files have changed.
    fn client(&self) -> reqwest::Client {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let now = shown(&self.options);
        if now != client.0 {
            match self::client(self.options.identity.as_deref()) {
                Ok(newest) => *client = (now, newest),
                Err(error) => tracing::error!(%error, "the former identity stays in use"),
            }
        }
        client.1.clone()
    }

    /// Sends `body` as JSON.
    pub(crate) async fn post<B: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<A, ServiceError> {
        let request = self.client().post(self.url(path)).json(body).timeout(PATIENCE);
        self.send(request).await
    }

    /// Sends `body` as JSON; the answer is its status alone.
    pub(crate) async fn tell<B: Serialize>(&self, path: &str, body: &B) -> Result<(), ServiceError> {
        let request = self.client().post(self.url(path)).json(body).timeout(PATIENCE);
        let answer = request.bearer_auth(&self.options.token).send().await.map_err(ServiceError::Away)?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(ServiceError::Status(answer.status().as_u16()))
        }
    }

    /// Sends a sealed segment.
    pub(crate) async fn put<A: DeserializeOwned>(
        &self,
        path: &str,
        body: Vec<u8>,
    ) -> Result<A, ServiceError> {
        let request = self.client().put(self.url(path)).body(body).timeout(SEGMENT_PATIENCE);
        self.send(request.header("content-type", "application/octet-stream")).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.options.url)
    }

    async fn send<A: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<A, ServiceError> {
        let mut answer = request.bearer_auth(&self.options.token).send().await.map_err(ServiceError::Away)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(ServiceError::Status(answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(ServiceError::Away)? {
            if body.len() + piece.len() > LONGEST {
                return Err(ServiceError::Answer("it is too long".to_owned()));
            }
            body.extend_from_slice(&piece);
        }
        serde_json::from_slice(&body).map_err(|error| ServiceError::Answer(error.to_string()))
    }
}

/// When the certificate was written that we show.
fn shown(options: &Analytics) -> Option<SystemTime> {
    let path = options.identity.as_ref()?.join("tls.crt");
    std::fs::metadata(path).and_then(|about| about.modified()).ok()
}

fn client(identity: Option<&Path>) -> Result<reqwest::Client, ClientError> {
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(PATIENCE);
    if let Some(folder) = identity {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|error| ClientError::Identity(path, error))
        };
        let mut pair = read("tls.crt")?;
        pair.extend(read("tls.key")?);
        let roots = reqwest::Certificate::from_pem_bundle(&read("ca.crt")?)?;
        builder = builder.identity(reqwest::Identity::from_pem(&pair)?).tls_certs_only(roots);
    }
    Ok(builder.build()?)
}
