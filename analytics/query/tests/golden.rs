//! The SQL of every kind of question, compared with reviewed files.
#![allow(clippy::unwrap_used, reason = "tests")]

use analytics_query::{
    Bucket, Dimension, Filters, RecordOrder, RecordsQuestion, RollupMismatch, SeriesQuestion, TopOrder,
    TopQuestion, UsageQuestion, Window, Zone, coverage_statement, request_statement, rollup,
};

fn window() -> Window {
    let now = "2026-11-23T15:00:00Z".parse().unwrap();
    Window::parse("2026-11-01", "2026-12-01", &Zone::parse("Europe/Berlin").unwrap(), now).unwrap()
}

fn filters() -> Filters {
    let mut filters = Filters::default();
    filters.add(Dimension::Consumer, "shop/alice'); DROP TABLE usage_records; --").unwrap();
    filters.add(Dimension::Consumer, "").unwrap();
    filters.add(Dimension::Status, "429").unwrap();
    filters.add(Dimension::StatusClass, "5xx").unwrap();
    filters
}

#[test]
fn usage_by_day_and_status() {
    let question = UsageQuestion {
        window: window(),
        zone: Zone::parse("Europe/Berlin").unwrap(),
        bucket: Bucket::Day,
        by: vec![Dimension::Consumer, Dimension::StatusClass],
        filters: filters(),
        limit: 10_000,
        rolled_before: None,
    };
    insta::assert_snapshot!(question.statement());
}

#[test]
fn usage_as_one_row() {
    let question = UsageQuestion {
        window: window(),
        zone: Zone::utc(),
        bucket: Bucket::None,
        by: Vec::new(),
        filters: Filters::default(),
        limit: 1,
        rolled_before: None,
    };
    insta::assert_snapshot!(question.statement());
}

#[test]
fn usage_from_totals_and_records() {
    let mut question = UsageQuestion {
        window: window(),
        zone: Zone::utc(),
        bucket: Bucket::Month,
        by: vec![Dimension::Consumer],
        filters: filters(),
        limit: 1,
        rolled_before: Some("2026-11-10T00:00:00Z".parse().unwrap()),
    };
    assert_eq!(question.fits_rollup(), Ok(()));
    insta::assert_snapshot!(question.statement());
    question.zone = Zone::parse("Asia/Kolkata").unwrap();
    assert_eq!(question.fits_rollup(), Err(RollupMismatch::Bucket));
    question.bucket = Bucket::None;
    assert_eq!(question.fits_rollup(), Ok(()));
    question.by.push(Dimension::Host);
    assert_eq!(question.fits_rollup(), Err(RollupMismatch::Dimension("host")));
}

#[test]
fn series_by_route() {
    let by = Some(Dimension::Route);
    let question = SeriesQuestion { window: window(), step_ms: 60_000, by, filters: filters() };
    insta::assert_snapshot!(question.statement());
}

#[test]
fn top_by_latency() {
    let question = TopQuestion {
        window: window(),
        by: Dimension::Consumer,
        order: TopOrder::P95,
        limit: 10,
        filters: Filters::default(),
    };
    insta::assert_snapshot!(question.statement());
}

#[test]
fn slowest_records() {
    let question =
        RecordsQuestion { window: window(), filters: filters(), order: RecordOrder::Slowest, limit: 100_000 };
    insta::assert_snapshot!(question.statement());
}

#[test]
fn one_request() {
    insta::assert_snapshot!(request_statement("018F4D2A-0000-7000-8000-00000000002A").unwrap());
    for bad in ["", "1", "018f4d2a-0000-7000-8000-00000000002g", "é18f4d2a-0000-7000-8000-00000000002"] {
        assert!(request_statement(bad).is_err(), "{bad}");
    }
}

#[test]
fn rollup_of_a_day() {
    let day = "2026-11-23".parse().unwrap();
    let mut text = format!("{}\n\n", rollup::create_table(rollup::ROLLUP));
    for statement in rollup::rebuild(day) {
        text = format!("{text}{statement}\n\n");
    }
    text.push_str(&rollup::check(day, day).to_string());
    insta::assert_snapshot!(text);
}

#[test]
fn coverage() {
    insta::assert_snapshot!(coverage_statement(window()));
}
