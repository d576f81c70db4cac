//! What fleets have to do as external metrics (`external.metrics.k8s.io/v1beta1`), for HorizontalPodAutoscalers.
//!
//! In: what gateways tell over their streams. Out: two metrics of each fleet, to the API server alone: it shows the
//! certificate of its aggregator, and has authorised whoever asks. See also [`claim`].

pub(crate) mod claim;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use kube::Client;
use operator_compile::{FLEET_LABEL, REQUESTS_IN_FLIGHT, REQUESTS_PER_SECOND};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use self::claim::Aggregator;
use crate::identity::{self, common_name};
use crate::publisher::Publisher;

const VERSION: &str = "external.metrics.k8s.io/v1beta1";

/// Between two looks at whose the API is.
const LOOK: Duration = Duration::from_mins(1);
/// The same while it is not ours, at first.
const FIRST: Duration = Duration::from_secs(5);

/// Where the metrics are served, and in whose name.
pub(crate) struct External {
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    /// Of the operator.
    pub(crate) namespace: String,
    /// What the API server trusts.
    pub(crate) trusted: String,
    pub(crate) identity: identity::Identity,
    pub(crate) publisher: Arc<Publisher>,
}

impl External {
    /// Serves, and claims the API, from when it is `wanted` first; `ours` tells whether it is.
    pub(crate) async fn run(self, mut wanted: watch::Receiver<bool>, ours: watch::Sender<bool>) {
        if wanted.wait_for(|wanted| *wanted).await.is_err() {
            return;
        }
        let mut said = None;
        let mut pause = FIRST;
        let serving = loop {
            match Aggregator::read(&self.client).await {
                Ok(aggregator) => break self.serve(aggregator),
                Err(problem) => tell(&mut said, problem),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK);
        };
        let claiming = async {
            let mut pause = FIRST;
            loop {
                let claimed = claim::claim(&self.client, &self.namespace, &self.trusted).await;
                ours.send_if_modified(|ours| std::mem::replace(ours, claimed.is_ok()) != claimed.is_ok());
                match claimed {
                    Ok(()) => (said, pause) = (None, LOOK),
                    Err(problem) => tell(&mut said, problem),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LOOK);
            }
        };
        tokio::select! {
            served = serving => if let Err(problem) = served {
                tracing::error!(problem, "external metrics are not served");
            },
            () = claiming => {}
        }
        ours.send_replace(false);
    }

    fn serve(&self, aggregator: Aggregator) -> impl Future<Output = Result<(), String>> + use<> {
        let identity = Identity::from_pem(&self.identity.chain, &self.identity.key);
        serve(self.address, identity, aggregator, Arc::clone(&self.publisher))
    }
}

/// Once.
fn tell(said: &mut Option<String>, problem: String) {
    if said.as_ref() != Some(&problem) {
        tracing::warn!(problem, "the API external.metrics.k8s.io is not ours: fleets scale by CPU only");
        *said = Some(problem);
    }
}

async fn serve(
    address: SocketAddr,
    identity: Identity,
    aggregator: Aggregator,
    publisher: Arc<Publisher>,
) -> Result<(), String> {
    let listener = TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
    let tls = ServerTlsConfig::new().identity(identity).client_ca_root(Certificate::from_pem(&aggregator.ca));
    let router = router(publisher).layer(middleware::from_fn_with_state(Arc::new(aggregator), known));
    Server::builder()
        .accept_http1(true)
        .tls_config(tls)
        .map_err(|error| error.to_string())?
        .add_routes(Routes::from(router))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await
        .map_err(|error| error.to_string())
}

fn router(publisher: Arc<Publisher>) -> Router {
    Router::new()
        .route(&format!("/apis/{VERSION}"), get(kinds))
        .route(&format!("/apis/{VERSION}/namespaces/{{namespace}}/{{metric}}"), get(values))
        .with_state(publisher)
}

/// Nobody but the aggregator: the CA has issued certificates for others, too.
async fn known(
    State(aggregator): State<Arc<Aggregator>>,
    request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let info = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
    let certificates = info.and_then(TlsConnectInfo::peer_certs);
    let name = certificates.as_ref().and_then(|chain| common_name(chain.first()?));
    let allowed = |name: String| aggregator.names.is_empty() || aggregator.names.contains(&name);
    if name.is_some_and(allowed) { Ok(next.run(request).await) } else { Err(StatusCode::FORBIDDEN) }
}

/// Discovery: the metrics are not told one by one, as there may be as many as Gateways.
async fn kinds() -> Json<Value> {
    let resource = |name: &str| json!({"name": name, "singularName": "", "namespaced": true, "kind": "ExternalMetricValueList", "verbs": ["get"]});
    let resources = [REQUESTS_PER_SECOND, REQUESTS_IN_FLIGHT].map(resource);
    Json(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": VERSION, "resources": resources}),
    )
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    #[serde(default)]
    label_selector: String,
}

async fn values(
    State(publisher): State<Arc<Publisher>>,
    Path((namespace, metric)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, (StatusCode, Json<Value>)> {
    let refused = |code: StatusCode, message: String| {
        let code_number = code.as_u16();
        (
            code,
            Json(
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code_number, "message": message}),
            ),
        )
    };
    let selected = asked.label_selector.split_once('=').filter(|(key, _)| *key == FLEET_LABEL);
    let Some((_, fleet)) = selected else {
        let message = format!(
            "the selector must be {FLEET_LABEL}=NAME, such as the name of a Gateway of the namespace"
        );
        return Err(refused(StatusCode::BAD_REQUEST, message));
    };
    let load = publisher.load(&format!("{namespace}/{fleet}"), Instant::now());
    let milli = load.map(|load| match metric.as_str() {
        REQUESTS_PER_SECOND => Some((load.per_second * 1e3).round() as u64),
        REQUESTS_IN_FLIGHT => Some(load.in_flight.saturating_mul(1_000)),
        _ => None,
    });
    let item = |milli: u64| {
        json!({
            "metricName": metric,
            "metricLabels": {FLEET_LABEL: fleet},
            "timestamp": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "value": format!("{milli}m"),
        })
    };
    match milli {
        Some(None) => Err(refused(StatusCode::NOT_FOUND, format!("there is no metric {metric}"))),
        // A fleet of which nothing is known has no value: a scaler then leaves it as it is.
        known => Ok(Json(json!({
            "kind": "ExternalMetricValueList", "apiVersion": VERSION, "metadata": {},
            "items": known.flatten().map(item).into_iter().collect::<Vec<_>>(),
        }))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(publisher: &Arc<Publisher>, metric: &str, selector: &str) -> Result<Value, StatusCode> {
        let path = Path(("shop".to_owned(), metric.to_owned()));
        let asked = Query(Asked { label_selector: selector.to_owned() });
        let answer = values(State(Arc::clone(publisher)), path, asked).await;
        answer.map(|Json(list)| list["items"].clone()).map_err(|(code, _)| code)
    }

    #[tokio::test]
    async fn a_fleet_has_two_metrics_and_nobody_else_has_any() {
        let publisher = Arc::<Publisher>::default();
        let start = Instant::now();
        publisher.joined("shop/web", "a", 1);
        publisher.measured("shop/web", "a", 1, (0, 0), start.checked_sub(Duration::from_secs(4)).unwrap());
        publisher.measured("shop/web", "a", 1, (50, 7), start);
        let rate = ask(&publisher, REQUESTS_PER_SECOND, "fleet=web").await.unwrap();
        assert_eq!((&rate[0]["value"], &rate[0]["metricLabels"]["fleet"]), (&json!("12500m"), &json!("web")));
        assert_eq!(ask(&publisher, REQUESTS_IN_FLIGHT, "fleet=web").await.unwrap()[0]["value"], "7000m");
        assert_eq!(ask(&publisher, REQUESTS_IN_FLIGHT, "fleet=other").await, Ok(json!([])));
        assert_eq!(ask(&publisher, "cpu", "fleet=web").await, Err(StatusCode::NOT_FOUND));
        for selector in ["", "fleet", "app=web", "fleet!=web"] {
            assert_eq!(ask(&publisher, REQUESTS_IN_FLIGHT, selector).await, Err(StatusCode::BAD_REQUEST));
        }
    }
}
