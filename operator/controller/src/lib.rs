//! The operator's shell: what the cluster holds → `operator-compile` → what the cluster is to hold, and what gateways are
//! to serve.
//!
//! In: events of an API server, and answers of gateways. Out: snapshots to the gateways of each fleet, children of each
//! Gateway by server-side apply, and statuses that say only what is true now. No decision about a resource is made here.

mod analytics;
mod certificates;
mod children;
mod events;
mod examine;
mod external;
mod features;
mod identity;
mod leader;
mod merge;
mod operator;
mod publisher;
mod rotation;
mod serve;
mod serving;
mod start;
mod statuses;
mod usage;
mod watch;
mod world;

use std::net::SocketAddr;

pub use examine::{Check, certificates, examine};
pub use start::run;

/// Children of ours, where we watch or list a kind only for them.
const OURS: &str = "app.kubernetes.io/managed-by=turnpike";

/// What an operator is told when it starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where gateways and analytics follow.
    pub listen: SocketAddr,
    /// Where external metrics are served to the API server, if at all.
    pub external_metrics: Option<SocketAddr>,
    /// Namespace of the operator's own objects: its CA.
    pub namespace: String,
    /// Name of this operator among those of the cluster, no two of which are equal; by default a random one.
    pub replica: Option<String>,
    /// Namespaces to look into, besides that of the operator; none: all of the cluster.
    pub watch: Vec<String>,
    /// `spec.controllerName` of the GatewayClasses that are ours.
    pub controller_name: String,
    /// Image, and addresses as Pods reach them.
    pub runtime: operator_compile::Runtime,
}

impl Options {
    /// Where resources and children are looked for; nowhere in particular when it is empty.
    fn watched_namespaces(&self) -> Vec<String> {
        let mut namespaces = self.watch.clone();
        if !namespaces.is_empty() {
            namespaces.push(self.namespace.clone());
        }
        namespaces.sort();
        namespaces.dedup();
        namespaces
    }
}

/// Why an operator does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cluster is configured.
    #[error("no cluster: {0}; set KUBECONFIG, or run in a Pod with a ServiceAccount")]
    Config(Box<kube::config::InferConfigError>),
    /// The API server refused something without which nothing works.
    #[error("{what}: {error}")]
    Api {
        /// What was tried.
        what: String,
        /// What the API server said.
        error: Box<kube::Error>,
    },
    /// The CA cannot be made or read.
    #[error("CA in Secret {secret}: {problem}; delete the Secret to have a new one made")]
    Ca {
        /// `namespace/name`.
        secret: String,
        /// What is wrong.
        problem: String,
    },
    /// No client for analytics can be made.
    #[error("client of analytics: {0}")]
    Client(String),
    /// The port cannot be had.
    #[error("cannot listen on {0}: {1}; choose another port or stop what uses it")]
    Listen(SocketAddr, std::io::Error),
    /// The address of analytics is no URL.
    #[error("{0} is not a URL such as https://turnpike-analytics.turnpike-system.svc:9443")]
    Url(String),
    /// The server of the streams ended.
    #[error("the server of snapshots ended: {0}")]
    Serve(tonic::transport::Error),
}

impl Error {
    /// A certificate of our own could not be made.
    fn identity(error: impl std::fmt::Display) -> Self {
        Self::Ca { secret: "turnpike-ca".to_owned(), problem: error.to_string() }
    }
}
