//! `turnpike usage`: who used what.

use std::io::Write;

use analytics_query::Dimension;
use comfy_table::presets;
use comfy_table::{CellAlignment, Table};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::client::Target;
use crate::output::{Output, Style, paint, say};

const EXAMPLES: &str = "\
Examples:
  turnpike usage                                        this month, by consumer
  turnpike usage --by consumer,status --from day --zone Europe/Berlin
  turnpike usage --by route --where consumer=shop/alice --from now-2h
  turnpike usage --bucket day --from 2026-11-01 --to 2026-12-01 --format csv > november.csv";

/// Who used what: requests and bytes, counted from usage records.
///
/// The line below the table says through when every record is counted.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Columns to count by, with commas: consumer, plan, product, subscription, route, rule, gateway, listener,
    /// backend, status, `status_class`, reason, method, protocol, host.
    #[arg(long, value_name = "DIMENSIONS", default_value = "consumer")]
    by: String,
    /// Begin: `2026-11`, `2026-11-23`, `2026-11-23T10:00`, an RFC 3339 instant, `now-2h`, or `hour`, `day`, `week`,
    /// `month` for the start of the current one.
    #[arg(long, default_value = "month")]
    from: String,
    /// End, not included; written as --from.
    #[arg(long, default_value = "now")]
    to: String,
    /// Time zone of dates and buckets, an IANA name.
    #[arg(long, default_value = "UTC")]
    zone: String,
    /// A line for each minute, hour, day, week or month; `none` for one over the whole time.
    #[arg(long, default_value = "none")]
    bucket: String,
    /// Only these, such as `consumer=shop/alice` or `status_class=5xx`; may be repeated.
    #[arg(long = "where", value_name = "DIMENSION=VALUE", value_parser = parse_filter)]
    filters: Vec<(String, String)>,
    /// Add charges by the plans' prices.
    #[arg(long)]
    charges: bool,
    /// Write a report file to standard output instead of a table.
    #[arg(long, value_parser = ["csv", "parquet", "json"])]
    format: Option<String>,
}

fn parse_filter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => match name.parse::<Dimension>() {
            Ok(_) => Ok((name.to_owned(), value.to_owned())),
            Err(error) => Err(error.to_string()),
        },
        None => Err(format!("`{text}` is not of the form DIMENSION=VALUE, such as consumer=shop/alice")),
    }
}

/// The part of a report that a table shows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Names of the leading columns.
    pub(crate) by: Vec<String>,
    /// How far it is complete, in words.
    pub(crate) statement: String,
    /// Whether all of the period is covered.
    pub(crate) complete: bool,
    /// One object a line.
    pub(crate) rows: Vec<Map<String, Value>>,
    /// Sums.
    pub(crate) totals: Map<String, Value>,
    /// Money lines, when asked for.
    #[serde(default)]
    pub(crate) charges: Vec<Map<String, Value>>,
}

pub(crate) async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let analytics = args.target.connect()?;
    let query = args.query();
    if let Some(format) = &args.format {
        let mut query = query;
        query.push(("format", format.clone()));
        let body = analytics.bytes("/v1/usage", &query).await?;
        std::io::stdout().write_all(&body)?;
        return Ok(());
    }
    if output == Output::Json {
        let report: Value = analytics.json("/v1/usage", &query).await?;
        return output.print(&report, String::new);
    }
    let report: Report = analytics.json("/v1/usage", &query).await?;
    say(&table(&report))
}

impl Args {
    fn query(&self) -> Vec<(&str, String)> {
        let mut query = vec![
            ("by", self.by.clone()),
            ("from", self.from.clone()),
            ("to", self.to.clone()),
            ("zone", self.zone.clone()),
            ("bucket", self.bucket.clone()),
        ];
        query.extend(self.filters.iter().map(|(name, value)| (name.as_str(), value.clone())));
        if self.charges {
            query.push(("charges", "true".to_owned()));
        }
        query
    }
}

/// A report as a table for people.
pub(crate) fn table(report: &Report) -> String {
    let mut leading: Vec<String> = report.by.clone();
    if report.rows.iter().any(|row| row.contains_key("time")) {
        leading.insert(0, "time".to_owned());
    }
    let counts = ["requests", "refused", "errors", "request_bytes", "response_bytes"];
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let header =
        leading.iter().map(String::as_str).chain(counts).map(|name| name.replace('_', " ").to_uppercase());
    table.set_header(header);
    for row in &report.rows {
        table.add_row(leading.iter().map(String::as_str).chain(counts).map(|name| cell(row.get(name))));
    }
    let totals =
        leading.iter().enumerate().map(|(i, _)| if i == 0 { "total".to_owned() } else { String::new() });
    table.add_row(totals.chain(counts.iter().map(|name| cell(report.totals.get(*name)))));
    for column in leading.len()..leading.len() + counts.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let statement = if report.complete {
        paint(Style::Good, &report.statement)
    } else {
        paint(Style::Warning, &report.statement)
    };
    format!("{table}\n{statement}")
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if text.is_empty() => "(none)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
