//! `turnpike explain URL`: what would happen to a request, and why not something else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use analytics_record::NameId;
use anyhow::Context;
use gateway_pipeline::{ExplainRequest, Prepared, explain};
use gateway_snapshot::Snapshot;

use crate::output::Output;
use crate::state::{self, State};
use crate::up::compile_folder;

const EXAMPLES: &str = "\
Examples:
  turnpike explain http://shop.example.com:8080/orders/7
  turnpike explain https://shop.example.com:8443/orders -X POST -H 'x-api-key: …'
  turnpike explain http://shop.example.com:8080/orders/7 --dir examples/shop";

/// Explain what would happen to a request: which listener, route, rule, policies and backend, and why not others.
///
/// Nothing is sent and nothing is counted. Without --dir, the snapshot that `turnpike up` published last is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// URL as a client would write it; its port chooses the listener (without one: 80 or 443).
    url: String,
    /// Method.
    #[arg(short = 'X', long, default_value = "GET")]
    method: String,
    /// Header field, `Name: value`; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// Address of the client.
    #[arg(long, default_value = "127.0.0.1")]
    client: std::net::IpAddr,
    /// Compile this folder instead.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// State folder of `turnpike up`.
    #[arg(long, default_value = state::DEFAULT, env = "TURNPIKE_STATE")]
    state: PathBuf,
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(format!("`{text}` is not of the form `Name: value`")),
    }
}

pub(crate) fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let snapshot = match &args.dir {
        Some(dir) => compile_folder(dir)?.snapshot,
        None => published(&args.state)?,
    };
    let mut names = 0;
    let mut intern = |_: &str| {
        names += 1;
        NameId(names)
    };
    let prepared = Prepared::new(&snapshot, None, &mut intern)
        .map_err(|findings| anyhow::anyhow!("the snapshot is damaged: {}", join(&findings)))?;
    let request = ExplainRequest {
        method: args.method,
        url: args.url,
        headers: args.headers,
        listener_port: None,
        client: args.client,
        unix_s: jiff::Timestamp::now().as_second(),
    };
    let explanation = explain(&Arc::new(prepared), &request)?;
    output.print(&explanation, || explanation.to_string())
}

fn join(findings: &[gateway_snapshot::Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn published(state: &Path) -> anyhow::Result<Snapshot> {
    let path = State::open(state)?.path("snapshot.json");
    let text = std::fs::read(&path).with_context(|| {
        format!("{} is missing: name a folder with --dir, or run `turnpike up`", path.display())
    })?;
    serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
}
