//! Reload under load: hundreds of changes of routes, and certificates among them, fail no request and cut no connection.
//!
//! `CHANGES` says how many (500 unless told), of which every 25th replaces the certificate as well.

#![expect(clippy::print_stdout, reason = "how long a change takes is of use beside the result")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::{SinkExt, StreamExt};
use tests::{Machine, Setup, Upstream, eventually, free_port, shop, turn};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

const HOST: &str = "reload.example.com";
const CERTIFICATE_EVERY: u64 = 25;
const WORKERS: usize = 4;
const PACE: Duration = Duration::from_millis(10);
/// From the change of a file until it is served.
const SERVED_WITHIN: Duration = Duration::from_secs(10);

fn routes(generation: u64) -> String {
    format!(
        r#"apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: all, namespace: shop }}
spec:
  parentRefs: [{{ name: web }}]
  rules:
    - filters:
        - type: ResponseHeaderModifier
          responseHeaderModifier: {{ set: [{{ name: x-generation, value: "{generation}" }}] }}
      backendRefs: [{{ name: upstream, port: 80 }}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: other-{generation}, namespace: shop }}
spec:
  parentRefs: [{{ name: web }}]
  hostnames: [other-{generation}.example.com]
  rules:
    - backendRefs: [{{ name: upstream, port: 80 }}]
"#
    )
}

/// A Secret with a fresh certificate, and the certificate as it comes over the wire.
fn secret() -> anyhow::Result<(String, Vec<u8>)> {
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
    let indent = |text: String| text.lines().fold(String::new(), |all, line| all + "    " + line + "\n");
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{ name: tls, namespace: shop }}\ntype: kubernetes.io/tls\n\
         stringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        indent(made.cert.pem()),
        indent(made.signing_key.serialize_pem())
    );
    Ok((text, made.cert.der().to_vec()))
}

/// A client with connections of its own that knows the host's address and takes any certificate.
fn client(port: u16) -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .resolve(HOST, SocketAddr::from(([127, 0, 0, 1], port)))
        .tls_danger_accept_invalid_certs(true)
        .tls_info(true)
        .build()?)
}

struct Ports {
    http: u16,
    https: u16,
}

impl Ports {
    /// Both listeners in turn, now and then with a new connection.
    async fn load(&self, failures: &AtomicU64, stop: &AtomicBool) -> anyhow::Result<u64> {
        let (mut plain, mut tls) = (client(self.http)?, client(self.https)?);
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            let request = match sent % 2 {
                0 => plain.get(format!("http://{HOST}:{}/bytes/100", self.http)),
                _ => tls.post(format!("https://{HOST}:{}/bytes/100", self.https)).body("some text"),
            };
            if let Err(error) = whole(request).await {
                failures.fetch_add(1, Ordering::Relaxed);
                println!("failed: {error:#}");
            }
            sent += 1;
            if sent % 20 == 0 {
                (plain, tls) = (client(self.http)?, client(self.https)?);
            }
            tokio::time::sleep(PACE).await;
        }
        Ok(sent)
    }

    /// Waits until `generation` is served.
    async fn serves(&self, generation: u64) -> anyhow::Result<()> {
        let (http, wanted) = (client(self.http)?, generation.to_string());
        let url = format!("http://{HOST}:{}/", self.http);
        eventually(&format!("generation {generation} is served"), SERVED_WITHIN, || async {
            let response = http.get(&url).send().await.map_err(|error| format!("{error:#}"))?;
            let found = response.headers().get("x-generation").and_then(|value| value.to_str().ok());
            if found == Some(&wanted) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
        Ok(())
    }

    /// Waits until a new connection is shown `certificate`.
    async fn shows(&self, certificate: &[u8]) {
        let url = format!("https://{HOST}:{}/", self.https);
        eventually("the new certificate is shown", SERVED_WITHIN, || async {
            let fresh = client(self.https).map_err(|error| error.to_string())?;
            let response = fresh.get(&url).send().await.map_err(|error| format!("{error:#}"))?;
            let info = response.extensions().get::<reqwest::tls::TlsInfo>();
            let shown = info.and_then(reqwest::tls::TlsInfo::peer_certificate);
            if shown == Some(certificate) { Ok(()) } else { Err("another one".to_owned()) }
        })
        .await;
    }
}

async fn whole(request: reqwest::RequestBuilder) -> anyhow::Result<()> {
    let response = request.send().await?;
    ensure!(response.status() == 200, "{}", response.status());
    ensure!(response.bytes().await?.len() == 100, "a part of the answer");
    Ok(())
}

async fn change(machine: &Machine, ports: &Ports, changes: u64) -> anyhow::Result<()> {
    let url = format!("ws://127.0.0.1:{}/ws", ports.http);
    let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.context("WebSocket")?;
    for generation in 1..=changes {
        machine.write("routes.yaml", &routes(generation))?;
        if generation % CERTIFICATE_EVERY == 0 {
            let (text, certificate) = secret()?;
            machine.write("tls.yaml", &text)?;
            ports.shows(&certificate).await;
        }
        ports.serves(generation).await?;
        let text = Message::text(format!("message {generation}"));
        socket.send(text.clone()).await?;
        let answer = socket.next().await.context("the WebSocket has ended")??;
        ensure!(answer == text, "{answer:?}");
    }
    socket.close(None).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_fail_no_request_and_cut_no_websocket() -> anyhow::Result<()> {
    let _turn = turn().await;
    let changes: u64 = std::env::var("CHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
    let upstream = Upstream::start().await?;
    let ports = Arc::new(Ports { http: free_port(), https: free_port() });
    let (tls, certificate) = secret()?;
    let machine = Setup::new()
        .file("gateway.yaml", shop::open_gateway(ports.http, Some(ports.https), upstream.port()))
        .file("routes.yaml", routes(0))
        .file("tls.yaml", tls)
        .start()?;
    ports.serves(0).await?;
    ports.shows(&certificate).await;
    let (failures, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (ports, failures, stop) = (ports.clone(), failures.clone(), stop.clone());
        workers.spawn(async move { ports.load(&failures, &stop).await });
    }
    let began = Instant::now();
    change(&machine, &ports, changes).await.with_context(|| machine.logs())?;
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    let sent = workers.join_all().await.into_iter().sum::<anyhow::Result<u64>>()?;
    println!("{changes} changes in {took:?}, {sent} requests");
    ensure!(
        failures.load(Ordering::Relaxed) == 0,
        "{} requests failed\n{}",
        failures.load(Ordering::Relaxed),
        machine.logs()
    );
    Ok(())
}
