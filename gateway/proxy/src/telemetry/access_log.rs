//! One JSON object per line on standard output, written by a thread of its own.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde::Serialize;

/// Lines that wait for the writer.
const QUEUE: usize = 4096;

/// The way to the writer; the writer ends when this is dropped.
#[derive(Debug)]
pub(crate) struct AccessLog(SyncSender<Line>);

/// What a line says.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    /// Microseconds since 1970.
    pub(crate) ts_us: u64,
    /// As in `X-Request-Id`.
    pub(crate) request_id: String,
    /// Listener's port.
    pub(crate) port: u16,
    /// The caller's address.
    pub(crate) client: String,
    /// Of the vocabulary.
    pub(crate) method: &'static str,
    /// Without port.
    pub(crate) host: String,
    /// Without query: it may hold credentials.
    pub(crate) path: String,
    /// Kind and name; empty when none matched.
    pub(crate) route: String,
    /// Of the vocabulary.
    pub(crate) protocol: &'static str,
    /// HTTP status.
    pub(crate) status: u16,
    /// Of the vocabulary.
    pub(crate) reason: &'static str,
    /// Whole request, microseconds.
    pub(crate) duration_us: u32,
    /// To the first byte of the upstream's answer, microseconds.
    pub(crate) upstream_us: u32,
    /// Attempts at upstreams.
    pub(crate) attempts: u8,
    /// Of the body.
    pub(crate) request_bytes: u64,
    /// Of the body.
    pub(crate) response_bytes: u64,
}

impl AccessLog {
    /// Starts the writer.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        std::thread::Builder::new().name("access-log".into()).spawn(move || write(&receiver))?;
        Ok(Self(sender))
    }

    /// Gives a line to the writer; false when there is no room.
    pub(crate) fn line(&self, line: Line) -> bool {
        self.0.try_send(line).is_ok()
    }
}

fn write(lines: &Receiver<Line>) {
    // Not locked for good: the program that embeds the gateway prints, too.
    let mut out = std::io::BufWriter::new(std::io::stdout());
    while let Ok(line) = lines.recv() {
        for line in std::iter::once(line).chain(lines.try_iter()) {
            // A closed standard output is nothing that a request should hear of.
            let _ = serde_json::to_writer(&mut out, &line);
            let _ = out.write_all(b"\n");
        }
        let _ = out.flush();
    }
}
