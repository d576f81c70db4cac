//! The reference pages of the record's columns and of the reasons equal what the types say.

use std::fmt::Write as _;
use std::path::PathBuf;

use analytics_record::table::{COLUMNS, TABLE};
use analytics_record::{Method, Protocol, Reason};

const MARK: &str =
    "<!-- Generated from analytics/record; do not edit. UPDATE_GOLDEN=1 cargo test -p analytics-record -->";

/// `UPDATE_GOLDEN=1` rewrites the page instead.
fn compare(page: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(page);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("the page can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "docs/reference/{page} is stale: UPDATE_GOLDEN=1 cargo test -p analytics-record"
    );
}

#[test]
fn reasons() {
    let mut page = format!(
        "# Reasons\n\n{MARK}\n\n\
         Every request ends for exactly one reason. Its word stands in the usage record, in metrics, in the access\n\
         log, and as `reason` in the problem+json body (RFC 9457) of a refusal, whose `type` is\n\
         `urn:turnpike:reason:WORD`. A word is never renamed and never means two things. *Status* is empty where it\n\
         comes from elsewhere: an upstream, a redirect, a mock or a CORS policy; 499 is never sent, it marks a\n\
         request whose client left before a status was chosen.\n\n\
         | word | status | title | when |\n|---|---|---|---|\n"
    );
    for reason in Reason::ALL {
        let status = reason.status().map_or(String::new(), |status| status.to_string());
        writeln!(page, "| `{reason}` | {status} | {} | {} |", reason.title(), reason.meaning()).unwrap();
    }
    compare("reasons.md", &page);
}

#[test]
fn columns() {
    let mut page = format!(
        "# The usage record\n\n{MARK}\n\n\
         One row of ClickHouse's table `{TABLE}` for each request, whatever happened to it. A full spool may keep\n\
         counts without detail: such a row stands for `n` requests, so ask for `sum(n)`, never for `count()`. Names\n\
         are `namespace/name` as they were when the request was served.\n\n\
         | column | type | meaning |\n|---|---|---|\n"
    );
    for column in COLUMNS {
        writeln!(page, "| `{}` | `{}` | {} |", column.name, column.ty.clickhouse(), column.doc).unwrap();
    }
    let methods: Vec<String> = Method::ALL.iter().map(|method| format!("`{method}`")).collect();
    write!(page, "\n`method` is one of {}.\n", methods.join(", ")).unwrap();
    page.push_str("\n| protocol | what the client spoke |\n|---|---|\n");
    for protocol in Protocol::ALL {
        writeln!(page, "| `{protocol}` | {} |", protocol.meaning()).unwrap();
    }
    page.push_str("\n`reason` is a word of the [list of reasons](reasons.md).\n");
    compare("usage-record.md", &page);
}
