use jiff::ToSpan;
use proptest::prelude::*;

use super::*;

fn spec(period: Period, zone: &str) -> WindowSpec {
    WindowSpec::calendar(period, zone).unwrap()
}

fn hours(window: Window) -> f64 {
    window.end.duration_since(window.start).as_secs_f64() / 3600.0
}

fn at(spec: &WindowSpec, text: &str) -> Window {
    spec.at(text.parse().unwrap())
}

#[test]
fn days_follow_daylight_saving_time() {
    let berlin = spec(Period::Day, "Europe/Berlin");
    assert!((hours(at(&berlin, "2026-03-29T12:00:00Z")) - 23.0).abs() < 1e-9);
    assert!((hours(at(&berlin, "2026-10-25T12:00:00Z")) - 25.0).abs() < 1e-9);
    let lord_howe = spec(Period::Day, "Australia/Lord_Howe");
    assert!((hours(at(&lord_howe, "2026-04-04T20:00:00Z")) - 24.5).abs() < 1e-9);
}

#[test]
fn a_day_that_a_zone_skipped_has_no_window() {
    let apia = spec(Period::Day, "Pacific/Apia");
    let before = at(&apia, "2011-12-30T09:59:59Z");
    let after = apia.next(before);
    assert_eq!(before.end.to_string(), "2011-12-30T10:00:00Z");
    assert_eq!(after.end.to_string(), "2011-12-31T10:00:00Z");
}

#[test]
fn anniversaries_keep_their_day() {
    let months = spec(Period::Month, "UTC").anchored("2026-01-31T00:00:00").unwrap();
    let first = at(&months, "2026-02-01T00:00:00Z");
    let second = months.next(first);
    let third = months.next(second);
    assert_eq!(first.start.to_string(), "2026-01-31T00:00:00Z");
    assert_eq!(second.start.to_string(), "2026-02-28T00:00:00Z");
    assert_eq!(third.start.to_string(), "2026-03-31T00:00:00Z");
    let leap = spec(Period::Year, "UTC").anchored("2024-02-29T00:00:00").unwrap();
    assert_eq!(at(&leap, "2025-06-01T00:00:00Z").start.to_string(), "2025-02-28T00:00:00Z");
    assert_eq!(at(&leap, "2028-06-01T00:00:00Z").start.to_string(), "2028-02-29T00:00:00Z");
}

#[test]
fn calendar_windows_start_where_people_expect() {
    let start = |period, zone, text: &str| at(&spec(period, zone), text).start.to_string();
    assert_eq!(start(Period::Week, "UTC", "2026-11-25T10:00:00Z"), "2026-11-23T00:00:00Z");
    assert_eq!(start(Period::Month, "Asia/Tokyo", "2026-11-25T10:00:00Z"), "2026-10-31T15:00:00Z");
    assert_eq!(start(Period::Year, "UTC", "2026-11-25T10:00:00Z"), "2026-01-01T00:00:00Z");
    assert_eq!(start(Period::Hour, "Asia/Kolkata", "2026-11-25T10:10:00Z"), "2026-11-25T09:30:00Z");
    assert_eq!(start(Period::Minute, "UTC", "2026-11-25T10:10:59Z"), "2026-11-25T10:10:00Z");
}

#[test]
fn mistakes_name_the_field_and_the_cure() {
    let zone = WindowSpec::calendar(Period::Day, "Mars/Olympus").unwrap_err().to_string();
    assert!(zone.starts_with("zone:") && zone.contains("Mars/Olympus") && zone.contains("Europe/Berlin"));
    let anchor = spec(Period::Day, "UTC").anchored("next tuesday").unwrap_err().to_string();
    assert!(anchor.starts_with("anchor:") && anchor.contains("2026-01-31"));
    let json = r#"{"period":"day","zone":"Nowhere"}"#;
    assert!(serde_json::from_str::<WindowSpec>(json).unwrap_err().to_string().contains("zone:"));
}

#[test]
fn a_window_survives_json() {
    let spec = spec(Period::Month, "Europe/Berlin").anchored("2026-01-31T06:00:00").unwrap();
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(text, r#"{"period":"month","zone":"Europe/Berlin","anchor":"2026-01-31T06:00:00"}"#);
    assert_eq!(serde_json::from_str::<WindowSpec>(&text).unwrap(), spec);
    assert_eq!(serde_json::from_str::<WindowSpec>(r#"{"period":"day"}"#).unwrap().zone_name(), "UTC");
}

#[test]
fn the_ends_of_time_do_not_panic() {
    for period in [Period::Minute, Period::Hour, Period::Day, Period::Week, Period::Month, Period::Year] {
        for zone in ["UTC", "Pacific/Apia"] {
            let spec = spec(period, zone);
            assert!(spec.at(Timestamp::MIN).end > Timestamp::MIN);
            assert!(spec.at(Timestamp::MAX).start < Timestamp::MAX);
        }
    }
}

fn zone_names() -> Vec<String> {
    zones().available().map(|name| name.to_string()).collect()
}

fn specs() -> impl Strategy<Value = WindowSpec> {
    let periods = prop::sample::select(vec![
        Period::Minute,
        Period::Hour,
        Period::Day,
        Period::Week,
        Period::Month,
        Period::Year,
    ]);
    let anchors = prop::option::of((1970_i16..2040, 1_i8..=12, 0_i64..31, 0_i64..86_400));
    (periods, prop::sample::select(zone_names()), anchors).prop_filter_map(
        "zone",
        |(period, zone, anchor)| {
            let spec = WindowSpec::calendar(period, &zone).ok()?;
            let Some((year, month, days, seconds)) = anchor else { return Some(spec) };
            let anchor =
                date(year, month, 1).at(0, 0, 0, 0).checked_add(days.days().seconds(seconds)).ok()?;
            spec.anchored(&anchor.to_string()).ok()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Q11: every instant is in exactly one window, and windows follow each other without gap or overlap.
    #[test]
    fn windows_tile_time(spec in specs(), second in -2_000_000_000_i64..7_000_000_000, millis in 0_i64..1000) {
        let instant = Timestamp::from_millisecond(second * 1000 + millis).unwrap();
        let window = spec.at(instant);
        prop_assert!(window.contains(instant), "{window:?} {instant}");
        prop_assert_eq!(spec.at(window.start), window);
        prop_assert_eq!(spec.at(window.end - 1.nanosecond()), window);
        let next = spec.next(window);
        prop_assert_eq!(next.start, window.end);
        prop_assert!(next.end > next.start);
        let before = spec.at(window.start - 1.nanosecond());
        prop_assert_eq!(before.end, window.start);
    }
}
