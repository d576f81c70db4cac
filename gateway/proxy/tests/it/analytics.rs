//! An analytics service in memory: takes segments and counts them, and runs a real quota authority.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use analytics_record::SegmentName;
use analytics_record::native::Values;
use analytics_record::segment::Segment;
use analytics_record::wire::{Heartbeat, HeartbeatAnswer, PutAnswer, SegmentState, StreamMark};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{post, put};
use axum::{Json, Router};
use gateway_quota::message::{Batch, Reply};
use gateway_quota::{Authority, AuthorityConfig, Limit, Mono, Now};

pub(crate) const TOKEN: &str = "secret";

#[derive(Clone)]
pub(crate) struct Service {
    inner: Arc<Mutex<Inner>>,
    start: Instant,
}

struct Inner {
    segments: BTreeMap<SegmentName, Vec<u8>>,
    authority: Authority,
    away: bool,
}

/// A record as the store would hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    ts: u64,
    pub(crate) status: u64,
    pub(crate) reason: String,
    pub(crate) method: String,
    pub(crate) protocol: String,
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) backend: String,
    pub(crate) consumer: String,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) attempts: u64,
    pub(crate) grpc_status: i16,
    pub(crate) n: u64,
}

impl Service {
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let start = Instant::now();
        let now = Now { mono: Mono::from_nanos(0), wall: jiff::Timestamp::now() };
        let authority = Authority::restore(AuthorityConfig::default(), [], now);
        let inner = Inner { segments: BTreeMap::new(), authority, away: false };
        let service = Self { inner: Arc::new(Mutex::new(inner)), start };
        let router = Router::new()
            .route("/v1/segments/{gateway}/{epoch}/{shard}/{seq}", put(segment))
            .route("/v1/spool/heartbeat", post(heartbeat))
            .route("/v1/quota", post(quota))
            .layer(DefaultBodyLimit::max(64 << 20))
            .with_state(service.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (service, address)
    }

    fn now(&self) -> Now {
        let mono = Mono::from_nanos(self.start.elapsed().as_nanos() as u64);
        Now { mono, wall: jiff::Timestamp::now() }
    }

    pub(crate) fn limits(&self, limits: Vec<Limit>) {
        let now = self.now();
        self.inner.lock().unwrap().authority.set_limits(limits, now);
    }

    /// Answers 503 to everything, or no longer.
    pub(crate) fn away(&self, away: bool) {
        self.inner.lock().unwrap().away = away;
    }

    /// Settled units, units under lease, and open leases, over all accounts.
    pub(crate) fn accounts(&self) -> (u64, u64, usize) {
        let inner = self.inner.lock().unwrap();
        inner.authority.accounts().fold((0, 0, 0), |(settled, leased, leases), account| {
            (settled + account.settled, leased + account.leased, leases + account.leases)
        })
    }

    /// All records that arrived, in the order of their times.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let inner = self.inner.lock().unwrap();
        let mut rows: Vec<Row> = inner.segments.values().flat_map(|bytes| rows(bytes)).collect();
        rows.sort_by_key(|row| row.ts);
        rows
    }
}

fn rows(bytes: &[u8]) -> Vec<Row> {
    let block = Segment::parse(bytes).unwrap().block().unwrap();
    let number =
        |name: &str, row| block.column(name).unwrap_or_else(|| panic!("{name}")).number(row).unwrap();
    let text = |name: &str, row| {
        block.column(name).unwrap_or_else(|| panic!("{name}")).text(row).unwrap().to_owned()
    };
    (0..block.rows)
        .map(|row| Row {
            ts: number("ts", row),
            status: number("status", row),
            reason: text("reason", row),
            method: text("method", row),
            protocol: text("protocol", row),
            path: text("path", row),
            host: text("host", row),
            backend: text("backend", row),
            consumer: text("consumer", row),
            request_bytes: number("request_bytes", row),
            response_bytes: number("response_bytes", row),
            attempts: number("attempts", row),
            grpc_status: match block.column("grpc_status") {
                Some(Values::I16(values)) => values[row],
                other => panic!("grpc_status is {other:?}"),
            },
            n: number("n", row),
        })
        .collect()
}

fn allowed(service: &Service, headers: &HeaderMap) -> Result<(), StatusCode> {
    if service.inner.lock().unwrap().away {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let given = headers.get("authorization").and_then(|value| value.to_str().ok());
    if given == Some(&format!("Bearer {TOKEN}")) { Ok(()) } else { Err(StatusCode::UNAUTHORIZED) }
}

async fn segment(
    State(service): State<Service>,
    Path((gateway, epoch, shard, seq)): Path<(String, String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<PutAnswer>, StatusCode> {
    allowed(&service, &headers)?;
    let name: SegmentName = format!("{gateway}/{epoch}/{shard}/{seq}").parse().unwrap();
    assert_eq!(Segment::parse(&body).unwrap().header().name, name);
    service.inner.lock().unwrap().segments.insert(name, body.to_vec());
    Ok(Json(PutAnswer { name, state: SegmentState::Held, boot: "b".into() }))
}

async fn heartbeat(
    State(service): State<Service>,
    headers: HeaderMap,
    Json(heartbeat): Json<Heartbeat>,
) -> Result<Json<HeartbeatAnswer>, StatusCode> {
    allowed(&service, &headers)?;
    let inner = service.inner.lock().unwrap();
    let marks = heartbeat
        .streams
        .iter()
        .map(|facts| {
            let has =
                |seq: &u32| inner.segments.contains_key(&SegmentName { stream: facts.stream, seq: *seq });
            let audited = (0..facts.next_seq).take_while(has).count() as u32;
            StreamMark { stream: facts.stream, audited, finished: facts.closed && audited == facts.next_seq }
        })
        .collect();
    Ok(Json(HeartbeatAnswer { boot: "b".into(), marks, seal_age_ms: 100 }))
}

async fn quota(
    State(service): State<Service>,
    headers: HeaderMap,
    Json(batch): Json<Batch>,
) -> Result<Json<Reply>, StatusCode> {
    allowed(&service, &headers)?;
    batch.check().map_err(|_| StatusCode::BAD_REQUEST)?;
    let now = service.now();
    let step = service.inner.lock().unwrap().authority.handle(&batch, now);
    step.reply.map(Json).ok_or(StatusCode::INTERNAL_SERVER_ERROR)
}
