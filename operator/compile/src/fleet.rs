//! GatewayFleet → settings of the gateway process.

use crds::gateway_fleet::GatewayFleetSpec;
use gateway_snapshot::Settings;

use crate::check::shown;
use crate::field::{Field, SPEC};
use crate::problem::Problem;

/// Longest time that any of the settings may be, milliseconds: a day.
const MAX_TIME: u64 = 24 * 3_600_000;

/// The settings, or the first thing that is wrong.
pub(crate) fn settings(spec: &GatewayFleetSpec) -> Result<Settings, Problem> {
    let (limits, times) = (&spec.limits, &spec.timeouts);
    let field = SPEC.key("limits");
    for (value, name) in [
        (u64::from(limits.max_connections), "maxConnections"),
        (u64::from(limits.max_header_bytes), "maxHeaderBytes"),
        (u64::from(limits.max_headers), "maxHeaders"),
        (u64::from(limits.max_uri_bytes), "maxUriBytes"),
    ] {
        if value == 0 {
            return Err(Problem::invalid(&field.key(name), "is 0, so that no request could pass; raise it"));
        }
    }
    let field = SPEC.key("timeouts");
    let time = |duration: &crds::Duration, name| time_ms(duration, &field.key(name));
    let tracing = spec.telemetry.tracing.as_ref();
    Ok(Settings {
        max_connections: limits.max_connections,
        max_header_bytes: limits.max_header_bytes,
        max_headers: limits.max_headers,
        max_uri_bytes: limits.max_uri_bytes,
        max_body_bytes: limits.max_body_bytes,
        header_timeout_ms: time(&times.header, "header")?,
        idle_timeout_ms: time(&times.idle, "idle")?,
        request_timeout_ms: time(&times.request, "request")?,
        connect_timeout_ms: time(&times.connect, "connect")?,
        drain_timeout_ms: time(&times.drain, "drain")?,
        trusted_proxies: trusted_proxies(spec)?,
        fast_path: spec.fast_path.enabled,
        access_log: spec.access_log.enabled,
        otlp_endpoint: tracing.map(|tracing| tracing.endpoint.clone()),
        trace_per_mille: tracing
            .map_or(Settings::default().trace_per_mille, |tracing| tracing.sampling_per_mille),
    })
}

fn time_ms(duration: &crds::Duration, field: &Field<'_>) -> Result<u64, Problem> {
    match duration.millis() {
        Some(ms @ 1..=MAX_TIME) => Ok(ms),
        Some(_) => Err(Problem::invalid(field, "is not between 1ms and 24h")),
        None => {
            Err(Problem::invalid(field, format!("{} is not a duration such as `10s`", shown(&duration.0))))
        }
    }
}

fn trusted_proxies(spec: &GatewayFleetSpec) -> Result<Vec<ipnet::IpNet>, Problem> {
    let list = SPEC.key("trustedProxies");
    let parse = |(index, text): (usize, &String)| {
        text.parse::<ipnet::IpNet>().map_err(|_| {
            let message = format!("{} is not a network such as `10.0.0.0/8`", shown(text));
            Problem::invalid(&list.index(index), message)
        })
    };
    spec.trusted_proxies.iter().enumerate().map(parse).collect()
}
