//! Alertmanager's API v2: the body of `POST /api/v2/alerts`.
//!
//! Labels are what names an alert there, so they hold nothing that changes while it stands. It ends by itself with its
//! window; sending it again only brings back what a restarted Alertmanager forgot.

use serde_json::{Value, json};

use super::{Alert, Kind};

/// The URL to post to, given the base URL of the channel.
pub(super) fn url(base: &str) -> String {
    format!("{}/api/v2/alerts", base.trim_end_matches('/'))
}

/// One alert as Alertmanager wants it.
pub(super) fn body(alert: &Alert) -> Value {
    let (name, severity) = match (alert.kind, alert.threshold) {
        (Kind::Forecast, _) => ("TurnpikeQuotaForecast", "warning"),
        (Kind::Threshold, 100..) => ("TurnpikeQuotaThreshold", "critical"),
        (Kind::Threshold, _) => ("TurnpikeQuotaThreshold", "warning"),
    };
    let summary = match alert.kind {
        Kind::Threshold => format!(
            "{} has used {} % of {}: {} of {} {}",
            who(alert),
            alert.threshold,
            alert.limit,
            alert.used,
            alert.max,
            alert.unit
        ),
        Kind::Forecast => format!(
            "{} will reach {} before {}: {} of {} {} used",
            who(alert),
            alert.limit,
            alert.window_end,
            alert.used,
            alert.max,
            alert.unit
        ),
    };
    json!([{
        "labels": {
            "alertname": name,
            "severity": severity,
            "consumer": alert.consumer,
            "limit": alert.limit,
            "subject": alert.subject,
            "threshold": alert.threshold.to_string(),
            "window_start": alert.window_start.to_string(),
        },
        "annotations": {
            "summary": summary,
            "used": alert.used.to_string(),
            "max": alert.max.to_string(),
            "id": alert.id,
        },
        "startsAt": alert.fired_at.to_string(),
        "endsAt": alert.window_end.to_string(),
    }])
}

fn who(alert: &Alert) -> &str {
    if alert.consumer.is_empty() { &alert.subject } else { &alert.consumer }
}
