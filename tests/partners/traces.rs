//! Spans in a real Jaeger, by OTLP: found by trace id in its own query API, below the caller's span, with attributes;
//! and usage records that carry the same trace id.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};
use tests::{Machine, Setup, eventually, free_port, program};

use crate::partner::{Partner, STORED_WITHIN, between, built};
use crate::resources;

const CALLER_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER_SPAN: &str = "00f067aa0ba902b7";
const UNSAMPLED_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const FAILED_TRACE: &str = "7c1fe7d4a9e24b1cb2a5f1d2a3b4c5d6";

/// A running Jaeger that keeps spans in memory.
struct Jaeger {
    otlp: u16,
    query: u16,
    http: reqwest::Client,
    _process: Partner,
}

/// A span of Jaeger's query API.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    #[serde(rename = "spanID")]
    id: String,
    operation_name: String,
    references: Vec<Value>,
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, Deserialize)]
struct Tag {
    key: String,
    value: Value,
}

impl Span {
    fn tag(&self, key: &str) -> &Value {
        self.tags.iter().find(|tag| tag.key == key).map_or(&Value::Null, |tag| &tag.value)
    }
}

impl Jaeger {
    fn start() -> anyhow::Result<Self> {
        let (otlp, query) = (free_port(), free_port());
        let ports = [
            ("admin.http", 0),
            ("collector.grpc-server", 0),
            ("collector.http-server", 0),
            ("collector.otlp.grpc", 0),
            ("collector.otlp.http", otlp),
            ("query.grpc-server", 0),
            ("query.http-server", query),
        ];
        let args: Vec<String> =
            ports.iter().map(|(server, port)| format!("--{server}.host-port=127.0.0.1:{port}")).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let process = Partner::start(&built("jaeger")?.join("all-in-one"), &args)?;
        process.line("\"status\":\"ready\"")?;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        Ok(Self { otlp, query, http, _process: process })
    }

    /// The spans of a trace, when there are `count` of them.
    async fn spans(&self, trace: &str, count: usize, machine: &Machine) -> Vec<Span> {
        let url = format!("http://127.0.0.1:{}/api/traces/{trace}", self.query);
        eventually(&format!("{count} spans of trace {trace}"), Duration::from_secs(15), || async {
            let answer: Value = self
                .http
                .get(&url)
                .send()
                .await
                .map_err(|e| e.to_string())?
                .json()
                .await
                .map_err(|e| e.to_string())?;
            let spans: Vec<Span> =
                serde_json::from_value(answer["data"][0]["spans"].clone()).unwrap_or_default();
            if spans.len() == count { Ok(spans) } else { Err(format!("{answer}\n{}", machine.logs())) }
        })
        .await
    }

    /// Tells of the caller's own span, as its own SDK would.
    async fn send_caller_span(&self) -> anyhow::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let span = json!({
            "traceId": CALLER_TRACE, "spanId": CALLER_SPAN, "name": "checkout", "kind": 3,
            "startTimeUnixNano": (now - 1_000_000_000).to_string(), "endTimeUnixNano": (now + 1_000_000_000).to_string(),
        });
        let service = json!({ "key": "service.name", "value": { "stringValue": "caller" } });
        let body = json!({ "resourceSpans": [{
            "resource": { "attributes": [service] }, "scopeSpans": [{ "spans": [span] }],
        }] });
        let url = format!("http://127.0.0.1:{}/v1/traces", self.otlp);
        self.http.post(url).json(&body).send().await?.error_for_status()?;
        Ok(())
    }
}

/// Sends a request; its status, its id, and what the upstream saw if it answered.
async fn request(
    machine: &Machine,
    port: u16,
    path: &str,
    traceparent: Option<String>,
) -> anyhow::Result<(u16, String, Value)> {
    let mut request = machine.http().get(format!("http://127.0.0.1:{port}{path}"));
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let response = request.send().await?;
    let id = response.headers().get("x-request-id").context("no x-request-id")?.to_str()?.to_owned();
    Ok((response.status().as_u16(), id, response.json().await.unwrap_or_default()))
}

/// The traceparent that the upstream saw: trace and span.
fn seen(echo: &Value) -> anyhow::Result<(String, String)> {
    let field = echo["headers"]["traceparent"].as_str().context("the upstream saw no traceparent")?;
    let parts: Vec<&str> = field.split('-').collect();
    anyhow::ensure!(parts.len() == 4, "{field}");
    Ok((parts[1].to_owned(), parts[2].to_owned()))
}

async fn recorded_trace(machine: &Machine, request_id: &str) -> anyhow::Result<String> {
    #[derive(Debug, Deserialize)]
    struct Row {
        trace: String,
    }
    let sql = format!(
        "SELECT lower(hex(trace_id)) AS trace FROM turnpike.usage_records WHERE request_id = '{request_id}'"
    );
    let rows: Vec<Row> = eventually("the record is there", STORED_WITHIN, || async {
        match machine.query::<Row>(&sql).await {
            Ok(rows) if !rows.is_empty() => Ok(rows),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    Ok(rows[0].trace.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_below_the_callers_and_records_carry_their_trace() -> anyhow::Result<()> {
    let jaeger = Jaeger::start()?;
    let echo = Partner::start(&program()?, &["echo"])?;
    let upstream: u16 = between(&echo.line("ready")?, "127.0.0.1:", "\"")?.parse()?;
    let (http, https) = (free_port(), free_port());
    let machine = Setup::new()
        .file("gateway.yaml", resources::gateway(http, https, Some(jaeger.otlp)))
        .file("upstream.yaml", resources::service("echo", upstream, "http"))
        .file("nobody.yaml", resources::service("nobody", free_port(), "http"))
        .file(
            "routes.yaml",
            resources::http_route("all", "/", "echo") + &resources::http_route("dead", "/dead", "nobody"),
        )
        .start()?;
    continued(&jaeger, &machine, http).await?;
    begun(&jaeger, &machine, http).await?;
    failed(&jaeger, &machine, http).await?;

    // A caller that does not want a span gets none, and its context is passed on all the same.
    let unsampled = format!("00-{UNSAMPLED_TRACE}-{CALLER_SPAN}-00");
    let (status, id, echo) = request(&machine, http, "/quiet", Some(unsampled)).await?;
    assert_eq!((status, seen(&echo)?.0.as_str()), (200, UNSAMPLED_TRACE));
    assert_eq!(recorded_trace(&machine, &id).await?, "0".repeat(32), "a record names only traces that exist");
    let url = format!("http://127.0.0.1:{}/api/traces/{UNSAMPLED_TRACE}", jaeger.query);
    assert_eq!(jaeger.http.get(url).send().await?.status().as_u16(), 404);
    Ok(())
}

/// A trace that the caller began.
async fn continued(jaeger: &Jaeger, machine: &Machine, port: u16) -> anyhow::Result<()> {
    jaeger.send_caller_span().await?;
    let traceparent = format!("00-{CALLER_TRACE}-{CALLER_SPAN}-01");
    let (status, id, echo) = request(machine, port, "/catalog/42?secret=1", Some(traceparent)).await?;
    assert_eq!(status, 200);
    let spans = jaeger.spans(CALLER_TRACE, 2, machine).await;
    let ours = spans.iter().find(|span| span.id != CALLER_SPAN).context("our span")?;
    let parent = json!({ "refType": "CHILD_OF", "traceID": CALLER_TRACE, "spanID": CALLER_SPAN });
    assert_eq!(ours.references, [parent]);
    assert_eq!(seen(&echo)?, (CALLER_TRACE.to_owned(), ours.id.clone()), "the upstream's parent is our span");
    assert!(ours.operation_name.starts_with("GET ") && ours.operation_name.ends_with("shop/all"), "{ours:?}");
    for (key, value) in [
        ("span.kind", json!("server")),
        ("http.request.method", json!("GET")),
        ("http.response.status_code", json!(200)),
        ("url.scheme", json!("http")),
        ("url.path", json!("/catalog/42")),
        ("server.address", json!("127.0.0.1")),
        ("turnpike.reason", json!("ok")),
        ("turnpike.request_id", json!(id)),
        ("error", Value::Null),
    ] {
        assert_eq!(*ours.tag(key), value, "{key} of {ours:?}");
    }
    assert_eq!(recorded_trace(machine, &id).await?, CALLER_TRACE);
    Ok(())
}

/// A trace that begins in the gateway.
async fn begun(jaeger: &Jaeger, machine: &Machine, port: u16) -> anyhow::Result<()> {
    let (status, id, echo) = request(machine, port, "/catalog/43", None).await?;
    assert_eq!(status, 200);
    let (trace, span) = seen(&echo)?;
    let spans = jaeger.spans(&trace, 1, machine).await;
    assert_eq!((spans[0].id.as_str(), spans[0].references.len()), (span.as_str(), 0), "{spans:?}");
    assert_eq!(*spans[0].tag("turnpike.request_id"), json!(id));
    assert_eq!(recorded_trace(machine, &id).await?, trace);
    Ok(())
}

/// A request whose upstream is not there.
async fn failed(jaeger: &Jaeger, machine: &Machine, port: u16) -> anyhow::Result<()> {
    let (status, id, _) =
        request(machine, port, "/dead", Some(format!("00-{FAILED_TRACE}-{CALLER_SPAN}-01"))).await?;
    assert!(status >= 500, "{status}");
    let spans = jaeger.spans(FAILED_TRACE, 1, machine).await;
    assert_eq!(*spans[0].tag("error"), json!(true), "{spans:?}");
    assert_eq!(*spans[0].tag("http.response.status_code"), json!(status), "{spans:?}");
    assert_eq!(spans[0].tag("error.type"), spans[0].tag("turnpike.reason"), "{spans:?}");
    assert_eq!(recorded_trace(machine, &id).await?, FAILED_TRACE);
    Ok(())
}
