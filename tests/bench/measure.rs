//! Timing of small operations: in groups, as reading the clock costs as much as some of them.

use std::fmt;
use std::time::Instant;

/// Operations that are timed together.
const GROUP: usize = 32;
const WARM_UP: usize = 20_000;
const GROUPS: usize = 8_000;

/// Rows in the order of their taking.
#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

struct Row {
    name: String,
    /// Nanoseconds that it should stay below.
    limit: Option<u64>,
    median: f64,
    late: f64,
}

impl Table {
    /// Times `work`, which is told its turn.
    pub(crate) fn row(&mut self, name: &str, limit: Option<u64>, mut work: impl FnMut(usize)) {
        (0..WARM_UP).for_each(&mut work);
        let mut turn = WARM_UP;
        let mut times: Vec<f64> = (0..GROUPS)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..GROUP {
                    work(turn);
                    turn += 1;
                }
                start.elapsed().as_nanos() as f64 / GROUP as f64
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[(times.len() as f64 * share) as usize];
        self.0.push(Row { name: name.to_owned(), limit, median: at(0.5), late: at(0.99) });
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| operation | p50, ns | p99, ns | at most |\n|---|---|---|---|")?;
        for row in &self.0 {
            let limit = row.limit.map_or_else(String::new, |limit| limit.to_string());
            writeln!(f, "| {} | {:.0} | {:.0} | {limit} |", row.name, row.median, row.late)?;
        }
        write!(f, "\nEach over {GROUPS} groups of {GROUP}, on one thread.")
    }
}

/// The machine in one line.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!("{model}, {threads} threads, Linux {}, load {load}", read("/proc/sys/kernel/osrelease").trim())
}
