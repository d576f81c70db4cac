//! Prometheus metrics of a size that does not grow with routes or consumers.
//!
//! Who used what is in the records; this is for operating the process. Labels are the listener's port, the
//! protocol, the class of the status and the word of the reason, all from closed sets, and the certificates served.

use std::cell::RefCell;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use analytics_record::{Protocol, Reason};
use gateway_snapshot::{Certificate, Entries, Key};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of the duration buckets, seconds: the conventional ones, and finer below for the gateway's own share.
const BUCKETS: [f64; 14] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// One kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    port: u16,
    protocol: Word<Protocol>,
    status: StatusClass,
    reason: Word<Reason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PortLabels {
    port: u16,
}

/// One certificate: Secret, or file on one machine, and the serial number of its leaf.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabels {
    certificate: String,
    serial: String,
}

/// A value of a closed vocabulary as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Word<T>(T);

impl<T: std::fmt::Display + std::fmt::Debug> EncodeLabelValue for Word<T> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        write!(encoder, "{}", self.0)
    }
}

/// `1xx` to `5xx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct StatusClass(u16);

impl EncodeLabelValue for StatusClass {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        write!(encoder, "{}xx", self.0)
    }
}

/// What the last request of a thread was counted by: the next is mostly of the same kind, and needs no look-up.
struct Recent {
    metrics: u64,
    labels: RequestLabels,
    requests: Counter,
    durations: Histogram,
}

thread_local! {
    static RECENT: RefCell<Option<Recent>> = const { RefCell::new(None) };
}

/// All metrics of the process.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Tells these from others in the same process.
    id: u64,
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<PortLabels, Histogram>,
    certificates: Family<CertificateLabels, Gauge>,
    /// Connections over the limit.
    pub(crate) connections_over_limit: Counter,
    /// TLS handshakes that failed.
    pub(crate) handshakes_failed: Counter,
    /// Requests that the fast path served.
    pub(crate) fast_path: Counter,
    /// Attempts at upstreams after the first.
    pub(crate) retries: Counter,
    /// Endpoints that were ejected.
    pub(crate) ejections: Counter,
    /// Copies of requests that were sent.
    pub(crate) mirrored: Counter,
    /// Copies that were not sent: too large, or too many at once.
    pub(crate) mirrors_skipped: Counter,
    /// Spans that found no room in the queue.
    pub(crate) spans_dropped: Counter,
    /// Access log lines that found no room in the queue.
    pub(crate) log_lines_dropped: Counter,
    /// Complete answers that left before their record was written: none, whatever upstreams do.
    pub(crate) late_records: Counter,
    /// Snapshots that were refused.
    pub(crate) snapshots_refused: Counter,
    /// Snapshots that were served.
    pub(crate) snapshots_accepted: Counter,
    gauges: Gauges,
}

/// Taken when somebody asks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Readings {
    /// Open connections.
    pub(crate) connections: u64,
    /// Bytes of sealed segments.
    pub(crate) spool_bytes: u64,
    /// Sealed segments.
    pub(crate) spool_segments: u64,
    /// Age of the oldest record that is not audited, microseconds.
    pub(crate) spool_oldest_us: u64,
    /// Requests kept as counts only.
    pub(crate) counted_only: u64,
    /// Records lost for good.
    pub(crate) lost: u64,
}

#[derive(Debug, Default)]
struct Gauges {
    connections: Gauge<u64, AtomicU64>,
    spool_bytes: Gauge<u64, AtomicU64>,
    spool_segments: Gauge<u64, AtomicU64>,
    spool_oldest_us: Gauge<u64, AtomicU64>,
    counted_only: Gauge<u64, AtomicU64>,
    lost: Gauge<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut metrics = Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            registry: Registry::with_prefix("turnpike_gateway"),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            certificates: Family::default(),
            connections_over_limit: Counter::default(),
            handshakes_failed: Counter::default(),
            fast_path: Counter::default(),
            retries: Counter::default(),
            ejections: Counter::default(),
            mirrored: Counter::default(),
            mirrors_skipped: Counter::default(),
            spans_dropped: Counter::default(),
            log_lines_dropped: Counter::default(),
            late_records: Counter::default(),
            snapshots_refused: Counter::default(),
            snapshots_accepted: Counter::default(),
            gauges: Gauges::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Requests that ended", self.requests.clone());
        registry.register("request_duration_seconds", "From head to last byte", self.durations.clone());
        let help = "When the certificate that is served ends, seconds since 1970";
        registry.register("certificate_not_after_seconds", help, self.certificates.clone());
        let counters = [
            ("connections_over_limit", "Connections over the limit", &self.connections_over_limit),
            ("handshakes_failed", "TLS handshakes that failed", &self.handshakes_failed),
            ("fast_path_requests", "Requests that the fast path served", &self.fast_path),
            ("retries", "Attempts at upstreams after the first", &self.retries),
            ("ejections", "Upstream endpoints left out for a while", &self.ejections),
            ("mirrored", "Copies of requests sent to mirrors", &self.mirrored),
            ("mirrors_skipped", "Copies not sent", &self.mirrors_skipped),
            ("spans_dropped", "Spans that found no room", &self.spans_dropped),
            ("access_log_lines_dropped", "Access log lines that found no room", &self.log_lines_dropped),
            ("late_records", "Complete answers that left before their record", &self.late_records),
            ("snapshots_refused", "Snapshots refused", &self.snapshots_refused),
            ("snapshots_accepted", "Snapshots served", &self.snapshots_accepted),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let gauges = [
            ("connections", "Open downstream connections", &self.gauges.connections),
            ("spool_bytes", "Sealed usage segments on disk, bytes", &self.gauges.spool_bytes),
            ("spool_segments", "Sealed usage segments on disk", &self.gauges.spool_segments),
            (
                "spool_oldest_microseconds",
                "Age of the oldest record not audited",
                &self.gauges.spool_oldest_us,
            ),
            ("records_counted_only", "Requests kept as counts without detail", &self.gauges.counted_only),
            ("records_lost", "Records lost for good, declared", &self.gauges.lost),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
    }

    /// Counts a request that ended.
    pub(crate) fn request(&self, port: u16, protocol: Protocol, status: u16, reason: Reason, took: Duration) {
        let (protocol, reason) = (Word(protocol), Word(reason));
        let labels = RequestLabels { port, protocol, status: StatusClass(status / 100), reason };
        let count = |by: &Recent| {
            by.requests.inc();
            by.durations.observe(took.as_secs_f64());
        };
        let counted = RECENT.try_with(|recent| match &mut *recent.borrow_mut() {
            Some(recent) if (recent.metrics, recent.labels) == (self.id, labels) => count(recent),
            recent => count(recent.insert(self.look_up(labels))),
        });
        // A thread that ends remembers nothing.
        counted.unwrap_or_else(|_| count(&self.look_up(labels)));
    }

    /// Certificates that are served from now on, after those `before`.
    pub(crate) fn certificates(&self, before: &Entries<Certificate>, now: &Entries<Certificate>) {
        let labels = |(key, found): (&Key, &Certificate)| CertificateLabels {
            certificate: key.clone(),
            serial: found.serial.clone(),
        };
        for (key, found) in now {
            self.certificates.get_or_create(&labels((key, found))).set(found.not_after);
        }
        let gone = before.iter().filter(|(key, old)| now.get(key).is_none_or(|new| new.serial != old.serial));
        for found in gone {
            self.certificates.remove(&labels(found));
        }
    }

    fn look_up(&self, labels: RequestLabels) -> Recent {
        let requests = self.requests.get_or_create(&labels).clone();
        let durations = self.durations.get_or_create(&PortLabels { port: labels.port }).clone();
        Recent { metrics: self.id, labels, requests, durations }
    }

    /// The text for a scrape.
    pub(crate) fn text(&self, readings: Readings) -> String {
        self.gauges.connections.set(readings.connections);
        self.gauges.spool_bytes.set(readings.spool_bytes);
        self.gauges.spool_segments.set(readings.spool_segments);
        self.gauges.spool_oldest_us.set(readings.spool_oldest_us);
        self.gauges.counted_only.set(readings.counted_only);
        self.gauges.lost.set(readings.lost);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_shows_what_was_counted() {
        let metrics = Metrics::default();
        metrics.request(8080, Protocol::H1, 204, Reason::Ok, Duration::from_millis(2));
        metrics.request(8080, Protocol::H1, 429, Reason::QuotaExceeded, Duration::from_millis(2));
        metrics.retries.inc();
        let text = metrics.text(Readings { connections: 3, ..Readings::default() });
        for line in [
            r#"turnpike_gateway_requests_total{port="8080",protocol="h1",status="2xx",reason="ok"} 1"#,
            r#"turnpike_gateway_requests_total{port="8080",protocol="h1",status="4xx",reason="quota_exceeded"} 1"#,
            r#"turnpike_gateway_request_duration_seconds_count{port="8080"} 2"#,
            "turnpike_gateway_retries_total 1",
            "turnpike_gateway_connections 3",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_certificate_that_is_replaced_is_shown_no_more() {
        let metrics = Metrics::default();
        let served = |serial: &str, not_after| -> Entries<Certificate> {
            let (chain, key, names) = (String::new(), String::new(), vec![]);
            let serial = serial.to_owned();
            let found = Certificate { chain, key, names, serial, not_before: 0, not_after };
            [("shop/tls".to_owned(), found)].into_iter().collect()
        };
        let (old, new) = (served("0a", 5), served("0b", 9));
        metrics.certificates(&Entries::default(), &old);
        metrics.certificates(&old, &new);
        let text = metrics.text(Readings::default());
        let name = "turnpike_gateway_certificate_not_after_seconds{certificate=\"shop/tls\",serial=";
        assert!(
            text.contains(&format!("{name}\"0b\"}} 9")) && !text.contains(&format!("{name}\"0a\"")),
            "{text}"
        );
    }
}
