//! The catalog from an operator: one gRPC stream, opened again whenever it ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gateway_snapshot::Catalog;
use tokio::sync::watch;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::authority::AuthorityHandle;
use proto::snapshots_client::SnapshotsClient;
use proto::{CatalogsRequest, update};

#[allow(clippy::pedantic, clippy::all, unreachable_pub, missing_debug_implementations, reason = "generated")]
mod proto {
    tonic::include_proto!("turnpike.snapshots.v1");
}

/// The name in the certificates of operators, whatever the address.
const OPERATOR_NAME: &str = "operator.turnpike";
/// Largest catalog, bytes.
const LARGEST: usize = 256 << 20;
const PAUSE: Duration = Duration::from_secs(1);
const CONNECT: Duration = Duration::from_secs(5);
/// A silent peer is asked this often, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Where the catalog comes from in a cluster.
#[derive(Debug, Clone)]
pub struct Operator {
    /// `https://host:port`.
    pub url: String,
    /// Folder with `tls.crt`, `tls.key` and `ca.crt`; read again for each connection.
    pub identity: PathBuf,
}

impl Operator {
    /// Puts every catalog in force, for ever.
    pub(super) async fn follow(&self, say: &watch::Sender<Arc<Catalog>>, authority: &AuthorityHandle) {
        let mut said = String::new();
        loop {
            let ended = self.stream(say, authority, &mut said).await.to_string();
            if said != ended {
                tracing::warn!(operator = self.url, error = ended, "no catalog; the last one stays in force");
                said = ended;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One stream; what ended it.
    async fn stream(
        &self,
        say: &watch::Sender<Arc<Catalog>>,
        authority: &AuthorityHandle,
        said: &mut String,
    ) -> Box<dyn std::error::Error + Send + Sync> {
        let channel = match self.connect().await {
            Ok(channel) => channel,
            Err(error) => return error,
        };
        let mut client = SnapshotsClient::new(channel).max_decoding_message_size(LARGEST);
        let mut catalogs = match client.catalogs(CatalogsRequest {}).await {
            Ok(catalogs) => catalogs.into_inner(),
            Err(status) => return status.message().into(),
        };
        loop {
            let update = match catalogs.message().await {
                Ok(Some(update)) => update.update,
                Ok(None) => return "the operator closed the stream".into(),
                Err(status) => return status.message().into(),
            };
            let Some(update::Update::Whole(json)) = update else { return "a catalog must come whole".into() };
            match super::parse(&json) {
                Ok(catalog) => super::put(Arc::new(catalog), say, authority).await,
                Err(error) => return error.into(),
            }
            said.clear();
        }
    }

    async fn connect(&self) -> Result<Channel, Box<dyn std::error::Error + Send + Sync>> {
        let read = |name: &str| {
            let path = self.identity.join(name);
            async move { tokio::fs::read(&path).await.map_err(|error| format!("{}: {error}", path.display())) }
        };
        let (chain, key, ca) = (read("tls.crt").await?, read("tls.key").await?, read("ca.crt").await?);
        let tls = ClientTlsConfig::new()
            .identity(Identity::from_pem(chain, key))
            .ca_certificate(Certificate::from_pem(ca))
            .domain_name(OPERATOR_NAME);
        let endpoint = Endpoint::from_shared(self.url.clone())?
            .tls_config(tls)?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        Ok(endpoint.connect().await?)
    }
}
