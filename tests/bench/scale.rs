//! What size costs.
//!
//! In: routes and consumers, few and many. Out: for each size, how long the compiler takes, how large the snapshot is, how
//! long a gateway takes from a changed file until it serves the change, and how much memory it has then. The gateway runs
//! in a process of its own: this program, started again.
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_pipeline::Prepared;
use gateway_proxy::{Options, Snapshots};
use gateway_snapshot::Snapshot;
use operator_compile::{Runtime, resources};
use tests::free_port;
use tokio_util::sync::CancellationToken;

use crate::shop::{self, Callers, shop};

/// Routes and consumers.
const SIZES: [(usize, usize); 5] = [(10, 10), (1_000, 1_000), (5_000, 1_000), (100_000, 10), (10, 1_000_000)];
/// Of them, in a quick run.
const QUICK: usize = 3;
const CHANGES: usize = 5;
const ROUTES_IN_A_FILE: usize = 5_000;
/// How long one change may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_mins(2);

/// Set for the gateway's process: the directory that it works in.
const GATEWAY: &str = "SCALE_GATEWAY";

/// Serves, if this is the gateway's process.
pub(crate) fn is_gateway() -> bool {
    let dir = std::env::var_os(GATEWAY);
    dir.is_some_and(|dir| {
        serve(Path::new(&dir));
        true
    })
}

/// Prints a row for each size, or for those that take no minutes.
pub(crate) fn table(quick: bool) {
    println!(
        "| routes | consumers | compile, ms | after a change, ms | with statuses, ms | snapshot, MiB | read, ms | prepare, ms | after a change, ms | a change served after, ms | gateway, MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for (routes, consumers) in SIZES.into_iter().take(if quick { QUICK } else { SIZES.len() }) {
        println!("{}", row(routes, consumers));
    }
    println!(
        "\nA change is one more route: median of {CHANGES}. *After a change* is what the compiler, and a gateway with the \
         difference at hand, take for it; *served after*: from the whole snapshot in a file until the route answers."
    );
}

fn row(routes: usize, consumers: usize) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut snapshot = shop(routes, Callers(consumers));
    let port = free_port();
    snapshot.listeners.values_mut().for_each(|listener| listener.port = port);
    let json = serde_json::to_vec(&snapshot).unwrap();
    let (read, parsed) = timed(|| {
        let snapshot: Snapshot = serde_json::from_slice(&json).unwrap();
        assert!(gateway_snapshot::lint(&snapshot).is_empty());
        snapshot
    });
    let (prepare, prepared) = timed(|| shop::prepare(&parsed));
    let again = prepare_again(parsed, prepared);
    write(dir.path(), &json);
    let gateway = Gateway::start(dir.path());
    await_routed(port, "/route-0", true);
    let mut times: Vec<f64> = (0..CHANGES).map(|n| change(dir.path(), &mut snapshot, port, n)).collect();
    times.sort_by(f64::total_cmp);
    let memory = gateway.memory();
    let [compile, served, all] = compile(routes);
    let size = json.len() as f64 / f64::from(1 << 20);
    format!(
        "| {routes} | {consumers} | {compile:.1} | {served:.1} | {all:.1} | {size:.1} | {read:.1} | {prepare:.1} | {again:.1} | {:.1} | {memory:.0} |",
        times[CHANGES / 2]
    )
}

/// Milliseconds that `work` takes, and what it gives.
fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let value = work();
    (start.elapsed().as_secs_f64() * 1e3, value)
}

/// Milliseconds that a gateway takes to prepare a difference of one more route; the median.
fn prepare_again(mut snapshot: Snapshot, mut prepared: Arc<Prepared>) -> f64 {
    let mut times: Vec<f64> = (0..CHANGES)
        .map(|n| {
            let mut next = snapshot.clone();
            add_route(&mut next, n);
            let difference = snapshot.diff(&next);
            let taken;
            (taken, (snapshot, prepared)) = timed(|| {
                let next = snapshot.clone().apply(difference);
                let after = shop::prepare_after(&next, Some(&prepared));
                (next, after)
            });
            taken
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[CHANGES / 2]
}

/// Milliseconds from the resources of as many routes to all that comes of them; then, after one of them has changed, to the
/// snapshot, and to all again.
fn compile(routes: usize) -> [f64; 3] {
    let mut files = vec![("gateway.yaml".to_owned(), include_str!("scale.yaml").to_owned())];
    for first in (0..routes).step_by(ROUTES_IN_A_FILE) {
        let mut text = String::new();
        for n in first..routes.min(first + ROUTES_IN_A_FILE) {
            write!(
                text,
                "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: route-{n}, namespace: bench}}\nspec:\n  \
                 parentRefs: [{{name: gw}}]\n  rules:\n  - matches: [{{path: {{type: PathPrefix, value: /route-{n}}}}}]\n    \
                 backendRefs: [{{name: echo, port: 80}}]\n"
            )
            .unwrap();
        }
        files.push((format!("routes-{first}.yaml"), text));
    }
    let (mut resources, diagnostics) = resources::read(&files);
    assert!(diagnostics.is_empty(), "{:?}", diagnostics.first());
    let runtime = Runtime {
        image: "turnpike-gateway".into(),
        operator: "https://operator:9443".into(),
        analytics: None,
        certificates: false,
        external_metrics: false,
    };
    let options = operator_compile::Options { runtime: Some(runtime), ..Default::default() };
    let mut compiler = operator_compile::Compiler::default();
    let (first, mut compiled) = timed(|| compiler.compile(&resources, &options));
    assert_eq!((compiled.snapshot.routes.len(), compiled.fleets.len()), (routes + 1, 2));
    let mut times: Vec<[f64; 2]> = (0..CHANGES)
        .map(|n| {
            let before = compiled.snapshot.version.clone();
            let route = resources.http_routes.values_mut().nth(n).unwrap();
            route.spec.hostnames = vec![format!("changed-{n}.example.com")];
            let (served, _) = timed(|| compiler.serve(&resources, &options));
            let all;
            (all, compiled) = timed(|| compiler.compile(&resources, &options));
            assert_ne!(compiled.snapshot.version, before);
            [served, all]
        })
        .collect();
    times.sort_by(|left, right| left[1].total_cmp(&right[1]));
    let [served, all] = times[CHANGES / 2];
    [first, served, all]
}

/// One more route: milliseconds from the file's change until it is served.
fn change(dir: &Path, snapshot: &mut Snapshot, port: u16, n: usize) -> f64 {
    let path = add_route(snapshot, n);
    let json = serde_json::to_vec(&*snapshot).unwrap();
    await_routed(port, &path, false);
    let start = Instant::now();
    write(dir, &json);
    await_routed(port, &path, true);
    start.elapsed().as_secs_f64() * 1e3
}

/// One more route; its path.
fn add_route(snapshot: &mut Snapshot, n: usize) -> String {
    let mut route = snapshot.routes.values().next().unwrap().clone();
    let path = format!("/fresh-{n}");
    route.name = format!("shop/fresh-{n}");
    route.rules[0].matches[0].path = gateway_snapshot::PathMatch::Prefix(path.clone());
    snapshot.routes.insert(format!("httproute/shop/fresh-{n}"), route);
    snapshot.version = format!("fresh-{n}");
    path
}

fn write(dir: &Path, json: &[u8]) {
    std::fs::write(dir.join("snapshot.tmp"), json).unwrap();
    std::fs::rename(dir.join("snapshot.tmp"), dir.join("snapshot.json")).unwrap();
}

/// Asks again and again until there is a route for `path`, or none. Nobody listens behind the routes.
fn await_routed(port: u16, path: &str, routed: bool) {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = ask(port, path).unwrap_or(0);
        if status != 0 && (status != 404) == routed {
            return;
        }
        assert!(Instant::now() < end, "{path} still answers {status}");
        // Without this, asking would take the processor from who is to answer.
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn ask(port: u16, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let status = std::str::from_utf8(&head[9..]).ok().and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::Error::other("no status"))
}

struct Gateway(Child);

impl Gateway {
    fn start(dir: &Path) -> Self {
        let itself = std::env::current_exe().unwrap();
        Self(Command::new(itself).env(GATEWAY, dir).spawn().unwrap())
    }

    /// Resident memory, MiB.
    fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The gateway's process.
fn serve(dir: &Path) {
    gateway_program::small_pages();
    let mut options = Options::new(Snapshots::File(dir.join("snapshot.json")), dir.join("state"));
    options.give_back = gateway_program::give_back;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(gateway_proxy::run(options, CancellationToken::new())).unwrap();
}
