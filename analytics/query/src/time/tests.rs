use super::*;

fn now() -> Timestamp {
    "2026-11-23T15:04:05.678Z".parse().unwrap()
}

fn read(text: &str, zone: &str) -> Result<String, TimeError> {
    instant(text, &Zone::parse(zone).unwrap(), now()).map(|found| found.to_string())
}

#[test]
fn every_form_means_one_instant() {
    let table = [
        ("2026-11-23T10:00:00+01:00", "UTC", "2026-11-23T09:00:00Z"),
        ("2026-11", "UTC", "2026-11-01T00:00:00Z"),
        ("2026-11", "Europe/Berlin", "2026-10-31T23:00:00Z"),
        ("2026-07-01", "Europe/Berlin", "2026-06-30T22:00:00Z"),
        ("2026-11-23T10:30", "Asia/Kolkata", "2026-11-23T05:00:00Z"),
        ("now", "UTC", "2026-11-23T15:04:05.678Z"),
        ("now-15m", "UTC", "2026-11-23T14:49:05.678Z"),
        ("now-2d", "UTC", "2026-11-21T15:04:05.678Z"),
        ("now+1h", "UTC", "2026-11-23T16:04:05.678Z"),
        ("hour", "Asia/Kolkata", "2026-11-23T14:30:00Z"),
        ("day", "America/New_York", "2026-11-23T05:00:00Z"),
        ("week", "UTC", "2026-11-23T00:00:00Z"),
        ("month", "Europe/Berlin", "2026-10-31T23:00:00Z"),
    ];
    for (text, zone, expected) in table {
        assert_eq!(read(text, zone).as_deref(), Ok(expected), "{text} in {zone}");
    }
}

#[test]
fn nonsense_is_named_and_never_panics() {
    for text in [
        "",
        "tomorrow",
        "now-",
        "now-5",
        "now-5y",
        "nowhere",
        "2026-13",
        "2026-11-31",
        "-",
        "now-é",
        "99999999999",
    ] {
        assert!(matches!(read(text, "UTC"), Err(TimeError::Instant(_))), "{text}");
    }
}

#[test]
fn zones_are_iana_names_and_nothing_else() {
    for name in ["", "Nowhere/Town", "UTC') OR 1=1 --", "Europe/Berlin'", "../etc/passwd"] {
        assert!(Zone::parse(name).is_err(), "{name}");
    }
    assert_eq!(Zone::parse("utc").unwrap().name(), "UTC");
    assert_eq!(Zone::parse("europe/berlin").unwrap().name(), "Europe/Berlin");
}

#[test]
fn windows_run_forwards() {
    let zone = Zone::utc();
    assert!(matches!(Window::parse("now", "now-1h", &zone, now()), Err(TimeError::Empty { .. })));
    assert!(matches!(Window::parse("now", "now", &zone, now()), Err(TimeError::Empty { .. })));
    assert_eq!(Window::parse("now-1h", "now", &zone, now()).unwrap().millis(), 3_600_000);
}
