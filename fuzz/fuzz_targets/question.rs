//! Parameters of reports: times, zones, windows, buckets, dimensions, one a line.
#![no_main]

use analytics_query::{Bucket, Dimension, Filters, Window, Zone, instant};
use fuzz::NOW_S;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let now = Timestamp::from_second(NOW_S).expect("a time of this century");
    let mut lines = text.split('\n');
    let zone = Zone::parse(lines.next().unwrap_or_default()).unwrap_or_else(|_| Zone::utc());
    let from = lines.next().unwrap_or_default();
    let to = lines.next().unwrap_or_default();
    let _ = instant(from, &zone, now);
    if let Ok(window) = Window::parse(from, to, &zone, now) {
        assert!(window.millis() > 0, "a window that is accepted has a length");
    }
    let _ = Bucket::parse(lines.next().unwrap_or_default());
    let mut filters = Filters::default();
    for line in lines {
        if let Some((name, value)) = line.split_once('=')
            && let Ok(dimension) = name.parse::<Dimension>()
        {
            let _ = filters.add(dimension, value);
        }
    }
});
