//! Alerts at a webhook receiver that checks signatures by the library of the Standard Webhooks specification: told again
//! under the same id until it is taken, across a crash, and then no more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use standardwebhooks::Webhook;
use tests::shop::{self, Caller};
use tests::{Part, Setup, Upstream, eventually, free_port, kill};

use crate::partner::STORED_WITHIN;

const SECRET: &str = "whsec_dGhpcyBzZWNyZXQgaXMgb25seSBmb3IgdGVzdHM=";

/// What came in under one id.
#[derive(Debug, Clone, Default)]
struct Message {
    attempts: u32,
    accepted: u32,
    body: Value,
}

/// A receiver that fails when it is told to.
#[derive(Clone)]
struct Receiver {
    failing: Arc<AtomicBool>,
    unsigned: Arc<Mutex<Vec<String>>>,
    messages: Arc<Mutex<BTreeMap<String, Message>>>,
}

impl Receiver {
    async fn start() -> anyhow::Result<(Self, u16)> {
        let receiver = Self {
            failing: Arc::new(AtomicBool::new(true)),
            unsigned: Arc::default(),
            messages: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let app = Router::new().route("/alerts", post(receive)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok((receiver, port))
    }

    fn messages(&self) -> MutexGuard<'_, BTreeMap<String, Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ids and what is known of each, by threshold.
    fn by_threshold(&self) -> BTreeMap<u64, (String, Message)> {
        let messages = self.messages();
        let threshold = |message: &Message| message.body["data"]["threshold"].as_u64().unwrap_or_default();
        let by: BTreeMap<_, _> = messages
            .iter()
            .map(|(id, message)| (threshold(message), (id.clone(), message.clone())))
            .collect();
        assert_eq!(by.len(), messages.len(), "a threshold has two ids: {messages:?}");
        by
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let verifier = Webhook::new(SECRET).expect("the secret is base64");
    if let Err(error) = verifier.verify(&body, &headers) {
        receiver
            .unsigned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(format!("{error:?} {headers:?}"));
        return StatusCode::UNAUTHORIZED;
    }
    let id = headers["webhook-id"].to_str().unwrap_or_default().to_owned();
    let mut messages = receiver.messages();
    let message = messages.entry(id).or_default();
    message.attempts += 1;
    message.body = serde_json::from_slice(&body).unwrap_or_default();
    if receiver.failing.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    message.accepted += 1;
    StatusCode::NO_CONTENT
}

fn policy(port: u16) -> String {
    format!(
        r"apiVersion: v1
kind: Secret
metadata: {{ name: signing, namespace: shop }}
stringData: {{ secret: {SECRET} }}
---
apiVersion: turnpike.dev/v1alpha1
kind: AlertPolicy
metadata: {{ name: quota, namespace: shop }}
spec:
  thresholds: [50, 80, 100]
  channels:
    - {{ type: Webhook, webhook: {{ url: 'http://127.0.0.1:{port}/alerts', secretRef: {{ name: signing, key: secret }} }} }}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_receiver_is_told_again_under_the_same_id_and_accepts_once() -> anyhow::Result<()> {
    let (receiver, receiver_port) = Receiver::start().await?;
    let callers = [Caller::new("alice", 10, "Year")];
    let upstream = Upstream::start().await?;
    let port = free_port();
    let machine = Setup::new()
        .file("gateway.yaml", shop::gateway(port, upstream.port(), &callers))
        .file("callers.yaml", shop::callers(&callers))
        .file("alerts.yaml", policy(receiver_port))
        .start()?;
    let request = async || -> anyhow::Result<u16> {
        let url = format!("http://127.0.0.1:{port}/");
        Ok(machine.http().get(url).header("x-api-key", callers[0].key()).send().await?.status().as_u16())
    };
    let until = |what: &'static str, wanted: fn(&BTreeMap<u64, (String, Message)>) -> bool| {
        let (receiver, machine) = (&receiver, &machine);
        eventually(what, Duration::from_secs(30), move || async move {
            let seen = receiver.by_threshold();
            if wanted(&seen) { Ok(seen) } else { Err(format!("{seen:?}\n{}", machine.logs())) }
        })
    };

    for _ in 0..5 {
        assert_eq!(request().await?, 200);
    }
    let first =
        until("the alert at 50 % comes twice", |seen| seen.get(&50).is_some_and(|(_, m)| m.attempts >= 2))
            .await;
    assert_eq!((first.len(), first[&50].1.accepted), (1, 0), "{first:?}");
    assert_eq!(first[&50].1.body["type"], "quota.threshold");
    assert_eq!(first[&50].1.body["data"]["consumer"], "shop/alice");
    assert_eq!(first[&50].1.body["data"]["used"], 5);

    // Two more are raised, not taken, and analytics is killed: the outbox remembers all.
    for _ in 0..5 {
        assert_eq!(request().await?, 200);
    }
    let before = until("the alert at 100 % comes", |seen| seen.contains_key(&100)).await;
    let killed = machine.part(Part::Analytics);
    kill(killed, "KILL");
    receiver.failing.store(false, Ordering::Relaxed);
    let after =
        until("all are taken", |seen| seen.len() == 3 && seen.values().all(|(_, m)| m.accepted > 0)).await;
    for threshold in [50, 80, 100] {
        assert_eq!(before[&threshold].0, after[&threshold].0, "the id stays the same");
    }

    // Nothing is told again: everything is noted as delivered, and use that settles later crosses nothing.
    assert_eq!(request().await?, 429);
    eventually("all deliveries are noted", STORED_WITHIN, || async {
        let alerts = machine.analytics("/v1/alerts").await.map_err(|error| format!("{error:#}"))?.to_string();
        let records = "SELECT toUInt64(sum(n)) FROM turnpike.usage_records WHERE consumer = 'shop/alice'";
        let records = machine.number(records).await.map_err(|error| format!("{error:#}"))?;
        let noted = alerts.matches("\"state\":\"delivered\"").count() == 3;
        if noted && records == 11 { Ok(()) } else { Err(format!("{records} records, {alerts}")) }
    })
    .await;
    let end = receiver.by_threshold();
    assert!(
        end.len() == 3 && end.values().all(|(_, message)| message.accepted == 1),
        "accepted once each: {end:?}"
    );
    let unsigned = receiver.unsigned.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(unsigned.is_empty(), "not signed: {unsigned:?}");
    Ok(())
}
