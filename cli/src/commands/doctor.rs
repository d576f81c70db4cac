//! `turnpike doctor`: what is wrong, where, and the cure.

use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use operator_compile::CONTROLLER_NAME;
use operator_controller::{Check, certificates};
use serde_json::Value;

use crate::client::{Analytics, Target};
use crate::output::{Output, Style, paint};
use crate::state::{RunInfo, State};
use crate::up::compile_folder;

/// A part that does not answer for so long is taken for hanging.
const PATIENCE: Duration = Duration::from_secs(5);
/// Records that wait for longer than this are a sign that the store or analytics is away.
const MAX_LAG_MS: u64 = 15_000;
/// Less free space than this, and the spool will soon keep counts only.
const MIN_FREE_BYTES: u64 = 1024 * 1024 * 1024;

/// Look for what is wrong with a running `turnpike up`, or in a cluster, say where, and name the cure.
///
/// Looks at resources, certificates, disk, gateway, listeners, store, records and alerts; in a cluster at definitions,
/// resources, certificates, operators, analytics and scaling. Exit code 1 when anything is wrong.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Look at the cluster of KUBECONFIG instead.
    #[arg(long)]
    kubernetes: bool,
    /// In a cluster: `spec.controllerName` of the GatewayClasses that are looked at.
    #[arg(long, default_value = CONTROLLER_NAME, requires = "kubernetes")]
    controller_name: String,
}

pub(crate) async fn run(args: Args, output: Output) -> anyhow::Result<ExitCode> {
    let checks = if args.kubernetes {
        operator_controller::examine(&args.controller_name, Timestamp::now()).await?
    } else {
        machine(&args.target).await?
    };
    let healthy = checks.iter().all(|check| check.ok);
    output.print(&checks, || checks.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn machine(target: &Target) -> anyhow::Result<Vec<Check>> {
    let state = State::open(&target.state)?;
    let info = state.run_info()?;
    let mut checks = resources(&info);
    checks.push(disk(&state));
    let admin = Analytics::new(&info.admin, state.token()?)?.within(PATIENCE);
    checks.extend(gateway(&admin).await);
    let analytics = target.connect()?.within(PATIENCE);
    checks.extend(pipeline(&analytics).await);
    checks.extend(alerts(&analytics).await);
    Ok(checks)
}

fn line(check: &Check) -> String {
    if check.ok {
        return format!("{} {}: {}", paint(Style::Good, "✓"), check.what, check.found);
    }
    format!("{} {}: {}\n    cure: {}", paint(Style::Bad, "✗"), check.what, check.found, check.cure)
}

/// The folder of resources, and the certificates in it.
fn resources(info: &RunInfo) -> Vec<Check> {
    let compiled = match compile_folder(&info.resources) {
        Ok(compiled) => compiled,
        Err(error) => {
            return vec![Check::new(
                "resources",
                false,
                format!("{error:#}"),
                "make the folder readable again",
            )];
        }
    };
    let mut checks = Vec::new();
    for problem in &compiled.problems {
        checks.push(Check::new("resources", false, problem, "correct the line that is named"));
    }
    if checks.is_empty() {
        checks.push(Check::new(
            "resources",
            true,
            format!("nothing wrong in {}", info.resources.display()),
            "",
        ));
    }
    checks.extend(certificates(&compiled.snapshot, Timestamp::now()));
    checks
}

fn disk(state: &State) -> Check {
    match rustix::fs::statvfs(state.path("")) {
        Ok(stat) => {
            let free = stat.f_bavail * stat.f_frsize;
            let found = format!("{} MiB free", free / 1024 / 1024);
            Check::new(
                "disk",
                free >= MIN_FREE_BYTES,
                found,
                "free space, or move the state folder with --state",
            )
        }
        Err(error) => Check::new("disk", false, error.to_string(), "check the state folder's permissions"),
    }
}

async fn gateway(admin: &Analytics) -> Vec<Check> {
    let status: Value = match admin.json("/status", &[]).await {
        Ok(status) => status,
        Err(error) => {
            let cure = "see log/gateway.log in the state folder; `turnpike up` starts it again by itself";
            return vec![Check::new("gateway", false, format!("{error:#}"), cure)];
        }
    };
    let version = status["version"].as_str().unwrap_or("none");
    let mut checks = vec![Check::new(
        "gateway",
        status["ready"] == Value::Bool(true),
        format!("serves version {version}"),
        "correct what `turnpike up` printed; a gateway is ready once it serves a snapshot",
    )];
    for (name, listener) in status["listeners"].as_object().into_iter().flatten() {
        let error = listener["error"].as_str();
        let found = match error {
            None => format!("{name} on {}", listener["address"].as_str().unwrap_or("?")),
            Some(error) => format!("{name}: {error}"),
        };
        let cure = "free the port, or give the listener another one";
        checks.push(Check::new("listener", error.is_none(), found, cure));
    }
    checks
}

async fn pipeline(analytics: &Analytics) -> Vec<Check> {
    let pipeline: Value = match analytics.json("/v1/pipeline", &[]).await {
        Ok(pipeline) => pipeline,
        Err(error) => {
            let cure = "see log/analytics.log in the state folder; traffic goes on and its records are kept";
            return vec![Check::new("analytics", false, format!("{error:#}"), cure)];
        }
    };
    let lag = pipeline["lag_ms"].as_u64();
    let lost = pipeline["declared_lost"].as_u64().unwrap_or_default();
    let conflicts = pipeline["conflicts"].as_u64().unwrap_or_default();
    let mut checks = vec![
        Check::new(
            "store",
            pipeline["store"]["up"] == Value::Bool(true),
            format!("version {}", pipeline["store"]["version"].as_str().unwrap_or("unknown")),
            "see log/engine.log in the state folder; records are kept in the spool meanwhile",
        ),
        Check::new(
            "records",
            lag.is_some_and(|lag| lag <= MAX_LAG_MS),
            behind(lag),
            "check the store; nothing is lost meanwhile",
        ),
        Check::new(
            "losses",
            lost == 0,
            format!("{lost} records declared lost"),
            "look for the gateway whose spool was deleted",
        ),
        Check::new(
            "segments",
            conflicts == 0,
            format!("{conflicts} conflicts"),
            "keep the spool and report this: it must not happen",
        ),
    ];
    for gateway in pipeline["gateways"].as_array().into_iter().flatten() {
        if gateway["degraded"] == Value::Bool(true) {
            let found =
                format!("the spool of {} keeps counts only", gateway["hostname"].as_str().unwrap_or("?"));
            checks.push(Check::new("spool", false, found, "free disk space, or bring the store back"));
        }
        let damaged = gateway["quarantined"].as_u64().unwrap_or_default();
        if damaged > 0 {
            let found = format!(
                "{damaged} damaged files in the spool of {}",
                gateway["hostname"].as_str().unwrap_or("?")
            );
            let cure = "see log/gateway.log for what was in them, check the disk, then empty the spool's quarantine folder";
            checks.push(Check::new("spool", false, found, cure));
        }
    }
    checks
}

fn behind(lag_ms: Option<u64>) -> String {
    match lag_ms {
        Some(lag) => format!("{lag} ms behind"),
        None => "not known yet how far they are complete".to_owned(),
    }
}

async fn alerts(analytics: &Analytics) -> Vec<Check> {
    let failed: anyhow::Result<Value> =
        analytics.json("/v1/alerts", &[("state", "failed".to_owned()), ("limit", "5".to_owned())]).await;
    let count = failed.ok().and_then(|all| all["alerts"].as_array().map(Vec::len)).unwrap_or_default();
    let found = if count == 0 { "all delivered".to_owned() } else { format!("{count} not delivered") };
    vec![Check::new(
        "alerts",
        count == 0,
        found,
        "check the receiver's address and secret in the AlertPolicy",
    )]
}
