//! Runs one admitted request on the engine.
//!
//! In: the statement, its session's settings and, for inserts, the request's body. Out: an [`Answer`]'s head and chunks.
//! Blocks: the engine's calls do, so a job has a blocking thread and a turn for as long as the engine is busy with it. An
//! insert is answered only after the engine has committed it, and is abandoned when its body breaks off.

mod answer;
mod intake;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, code};
use crate::ffi::{Analysis, Class, Connection};
use crate::lanes::Turn;
use crate::options::Limits;
use crate::request::Ask;
use crate::rowbinary;
use crate::statement::{Statement, admit};
use crate::store::Store;
pub(crate) use answer::{Answer, Head, Reply};
use intake::Intake;

/// Formats whose chunks can simply follow each other. All others are run whole, within the result limit.
const STREAMED: &[&str] = &[
    "RowBinary",
    "Native",
    "TabSeparated",
    "TSV",
    "TabSeparatedRaw",
    "TSVRaw",
    "CSV",
    "JSONEachRow",
    "JSONLines",
    "NDJSON",
    "JSONCompactEachRow",
    "LineAsString",
];
/// Streamed too, with the repeated header taken out.
const HEADED: &str = "RowBinaryWithNamesAndTypes";

/// One request, admitted to a lane.
pub(crate) struct Job {
    pub(crate) store: Arc<Store>,
    pub(crate) turn: Turn,
    pub(crate) tag: String,
    pub(crate) sql: String,
    pub(crate) ask: Ask,
    /// Whether statements that write are admitted.
    pub(crate) writable: bool,
    /// An insert's data.
    pub(crate) body: Body,
    /// When the request's time is over.
    pub(crate) deadline: Instant,
    pub(crate) limits: Limits,
    /// Cancelled when the process will not wait any longer.
    pub(crate) stop: CancellationToken,
}

impl Job {
    /// Runs to the end. Every outcome goes into the answer.
    pub(crate) fn run(self, mut answer: Answer, runtime: &Handle) {
        let Self { store, turn, tag, sql, ask, writable, body, deadline, limits, stop } = self;
        let settings = session_settings(&ask, writable, deadline);
        let mut intake = Intake::new(body, ask.decompress, deadline, &limits, stop, runtime.clone());
        let outcome = store.session(&tag, &settings, ask.database.as_deref()).and_then(|mut connection| {
            run_statement(&mut connection, &sql, &ask, writable, &mut intake, &mut answer)
        });
        match outcome {
            Ok(()) => answer.end(),
            Err(failure) => {
                tracing::debug!(%failure, "statement failed");
                intake.drain();
                answer.fail(failure);
            }
        }
        drop(turn);
    }
}

fn session_settings(ask: &Ask, writable: bool, deadline: Instant) -> Vec<(String, String)> {
    let mut settings = ask.settings.clone();
    // What waiting for the turn has left of the time. 0 would mean no bound.
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(10));
    settings.push(("max_execution_time".into(), format!("{:.3}", left.as_secs_f64())));
    if !writable {
        settings.retain(|(name, _)| name != "readonly");
        settings.push(("readonly".into(), "2".into()));
    }
    settings
}

fn run_statement(
    connection: &mut Connection,
    sql: &str,
    ask: &Ask,
    writable: bool,
    intake: &mut Intake,
    answer: &mut Answer,
) -> Result<(), Failure> {
    match Statement::read(sql)? {
        Statement::Insert { head, format, inline } => {
            let checked = format!("{head} FORMAT {format}");
            admit(analyze(connection, &checked)?, &checked, writable)?;
            let mut insert = connection.insert(head, format, &ask.params)?;
            if !inline.is_empty() {
                insert.append(inline.as_bytes())?;
            }
            while let Some(data) = intake.next()? {
                insert.append(&data)?;
            }
            // A client that counts what its lost insert has left behind relies on this: nothing begins to commit later.
            intake.check_deadline()?;
            answer.whole(format, insert.finish()?, Bytes::new());
            Ok(())
        }
        statement => {
            let analysis = analyze(connection, sql)?;
            admit(analysis, sql, writable)?;
            let format = match statement {
                Statement::Rows { format: Some(format) } => format,
                _ => &ask.format,
            };
            let streams = STREAMED.contains(&format) || format == HEADED;
            let rows = matches!(statement, Statement::Rows { .. }) && analysis.class == Class::Reads;
            if rows && streams && !ask.whole {
                stream(connection, sql, format, &ask.params, answer)
            } else {
                let (output, counts) = connection.query(sql, format, &ask.params)?;
                answer.whole(format, counts, output);
                Ok(())
            }
        }
    }
}

/// Analyses a statement; one that does not parse fails with the parser's own words.
fn analyze(connection: &mut Connection, sql: &str) -> Result<Analysis, Failure> {
    let analysis = connection.analyze(sql);
    if analysis.class == Class::Unknown {
        // Parses, never runs: the text is a parameter's value.
        connection.query(
            "SELECT formatQuery({sql:String}) FORMAT Null",
            "Null",
            &[("sql".into(), escaped(sql))],
        )?;
    }
    Ok(analysis)
}

/// A parameter's value as ClickHouse reads it: tab-separated escaping.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n")
}

fn stream(
    connection: &mut Connection,
    sql: &str,
    format: &str,
    params: &[(String, String)],
    answer: &mut Answer,
) -> Result<(), Failure> {
    let mut rows = connection.stream(sql, format, params)?;
    // The answer begins with the first chunk, so that a statement that fails before it has a proper status.
    let mut next = rows.next()?;
    answer.begin(Head::streamed(format));
    let mut first = true;
    while let Some(mut chunk) = next {
        if !first && format == HEADED {
            let header = rowbinary::header_length(&chunk).ok_or_else(|| {
                Failure::new(code::LOGICAL_ERROR, "a chunk without its header. (LOGICAL_ERROR)")
            })?;
            chunk = chunk.slice(header..);
        }
        first = false;
        answer.chunk(chunk)?;
        next = rows.next()?;
    }
    Ok(())
}

/// Ends a reading statement whose client has gone. Held by the answer's way to the client; dropping it early is the sign.
pub(crate) struct Watch {
    pub(crate) store: Arc<Store>,
    pub(crate) tag: String,
    pub(crate) finished: Arc<AtomicBool>,
    pub(crate) runtime: Handle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.finished.load(Ordering::Acquire) {
            return;
        }
        let (store, tag, finished) = (Arc::clone(&self.store), self.tag.clone(), Arc::clone(&self.finished));
        self.runtime.spawn(async move {
            // The statement may be waiting for its turn to start, so one attempt is not enough.
            while !finished.load(Ordering::Acquire) {
                let (store, tag) = (Arc::clone(&store), tag.clone());
                let _ = tokio::task::spawn_blocking(move || store.kill(&tag)).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
}
