//! `turnpike why REQUEST-ID`: what happened to a request, from its usage record.

use analytics_record::Reason;
use serde_json::{Map, Value};

use crate::client::Target;
use crate::output::{Output, say};

/// What happened to a request, from its usage record.
///
/// A record is in the store about a second after the answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  turnpike why 01a20936-dd14-73dc-94ae-d41fd8b1455b")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// The value of the `x-request-id` field of the answer.
    request_id: String,
}

/// Columns in the order of the story, with their heading.
const STORY: [(&str, &str); 20] = [
    ("ts", "ended at"),
    ("method", "method"),
    ("host", "host"),
    ("path", "path"),
    ("protocol", "protocol"),
    ("status", "status"),
    ("reason", "reason"),
    ("gateway", "gateway"),
    ("listener", "listener"),
    ("route", "route"),
    ("rule", "rule"),
    ("consumer", "consumer"),
    ("subscription", "subscription"),
    ("plan", "plan"),
    ("product", "product"),
    ("backend", "backend"),
    ("endpoint", "endpoint"),
    ("attempts", "attempts"),
    ("duration_us", "duration, µs"),
    ("upstream_us", "upstream's first byte after, µs"),
];

pub(crate) async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let analytics = args.target.connect()?;
    let answer: Value = analytics.json(&format!("/v1/records/{}", args.request_id), &[]).await?;
    if output == Output::Json {
        return output.print(&answer, String::new);
    }
    for record in answer["records"].as_array().into_iter().flatten().filter_map(Value::as_object) {
        say(&story(record))?;
    }
    Ok(())
}

/// The word, and what it means to people.
fn with_meaning(word: &str) -> String {
    match word.parse::<Reason>() {
        Ok(reason) => format!("{word}: {}", reason.meaning()),
        Err(_) => word.to_owned(),
    }
}

fn story(record: &Map<String, Value>) -> String {
    let mut lines = Vec::new();
    for (column, heading) in STORY {
        let text = match record.get(column) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) if text.is_empty() => continue,
            Some(Value::String(text)) if column == "reason" => with_meaning(text),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        lines.push(format!("{heading:>32}  {text}"));
    }
    lines.join("\n")
}
