//! The audit: what clients received, what the store holds, what reports say and what quotas counted must agree.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde::Deserialize;

use crate::load::Answers;
use crate::shop::Caller;
use crate::{Machine, eventually};

/// From the last answer until its record is audited in the store.
const COMPLETE_WITHIN: Duration = Duration::from_secs(90);
/// Until hourly totals, and what holders of leases report, have caught up.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);
/// How long after the end of its window a lease may be spent, and a little more.
const LEASES_OUTLIVE: Duration = Duration::from_millis(25);
/// What hourly totals are told apart by.
const DIMENSIONS: &str =
    "consumer, plan, product, subscription, route, rule, gateway, listener, status, reason, method, protocol";

#[derive(Debug, Deserialize)]
struct Row {
    request_id: String,
    status: u16,
    n: u64,
}

#[derive(Debug, Deserialize)]
struct Charged {
    consumer: String,
    units: u64,
}

/// Compares everything with everything, once the service says that the store is complete.
///
/// # Errors
/// With what differs.
pub async fn audit(machine: &Machine, callers: &[Caller], answers: &Answers) -> anyhow::Result<()> {
    complete(machine, answers.last().context("no answer at all")?).await;
    one_record_each(machine, answers).await?;
    rollups_equal_records(machine).await?;
    report_equals_records(machine).await?;
    for caller in callers {
        quota_equals_records(machine, caller, answers).await?;
    }
    Ok(())
}

/// Waits until the service says that the store holds every record up to `time`.
pub async fn complete(machine: &Machine, time: Timestamp) {
    eventually("the store is complete", COMPLETE_WITHIN, || async {
        let pipeline = machine.analytics("/v1/pipeline").await.map_err(|error| format!("{error:#}"))?;
        let through = pipeline["complete_through"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        // The clock that stamps records is the gateway's; both are this machine's.
        if through.is_some_and(|through| through > time) { Ok(()) } else { Err(pipeline.to_string()) }
    })
    .await;
}

/// Every answer has one record with its status, no record is there twice, and nothing was declared lost.
async fn one_record_each(machine: &Machine, answers: &Answers) -> anyhow::Result<()> {
    let rows: Vec<Row> = machine
        .query("SELECT toString(request_id) AS request_id, status, toUInt64(n) AS n FROM usage_records")
        .await?;
    let mut recorded: BTreeMap<&str, u16> = BTreeMap::new();
    for row in &rows {
        ensure!(row.n == 1, "{row:?}: no disk was full, so every record is in detail");
        ensure!(
            recorded.insert(&row.request_id, row.status).is_none(),
            "{} is recorded twice",
            row.request_id
        );
    }
    let missing: Vec<_> = answers
        .by_id
        .iter()
        .filter(|(id, answer)| recorded.get(id.as_str()) != Some(&answer.status))
        .collect();
    let sample = &missing[..missing.len().min(10)];
    ensure!(
        missing.is_empty(),
        "{} of {} answers have no record: {sample:?}",
        missing.len(),
        answers.by_id.len()
    );
    let pipeline = machine.analytics("/v1/pipeline").await?;
    for field in ["declared_lost", "conflicts"] {
        ensure!(pipeline[field] == 0, "{field} must be 0: {pipeline}");
    }
    println!("answers {} by status {:?}, records {}", answers.by_id.len(), answers.kinds(), rows.len());
    Ok(())
}

/// Hourly totals equal records in every dimension, and the service says so.
async fn rollups_equal_records(machine: &Machine) -> anyhow::Result<()> {
    let from_records = format!(
        "SELECT toStartOfHour(toDateTime(ts, 'UTC'), 'UTC') AS hour, {DIMENSIONS}, sum(n) AS requests, \
         sum(request_bytes) AS bytes_in, sum(response_bytes) AS bytes_out, sum(toUInt64(duration_us) * n) AS time \
         FROM usage_records GROUP BY hour, {DIMENSIONS}"
    );
    let from_rollup = format!(
        "SELECT hour, {DIMENSIONS}, sum(n) AS requests, sum(usage_1h.request_bytes) AS bytes_in, \
         sum(usage_1h.response_bytes) AS bytes_out, sum(duration_us_sum) AS time FROM usage_1h GROUP BY hour, {DIMENSIONS}"
    );
    let differences = format!(
        "SELECT toUInt64(count()) AS rows FROM (({from_records}) EXCEPT ({from_rollup}) \
         UNION ALL ({from_rollup}) EXCEPT ({from_records}))"
    );
    eventually("hourly totals equal records", SETTLED_WITHIN, || async {
        let rows = machine.number(&differences).await.map_err(|error| format!("{error:#}"))?;
        let pipeline = machine.analytics("/v1/pipeline").await.map_err(|error| format!("{error:#}"))?;
        let rollup = &pipeline["rollup"];
        if rows == 0 && rollup["equal"] == true && rollup["dirty"] == 0 {
            Ok(())
        } else {
            Err(format!("{rows} rows differ; {rollup}"))
        }
    })
    .await;
    Ok(())
}

/// The report over all time counts what the table holds.
async fn report_equals_records(machine: &Machine) -> anyhow::Result<()> {
    let report = machine.analytics("/v1/usage?by=consumer,status&from=now-7d&to=now").await?;
    let reported = report["totals"]["requests"].as_u64().context("totals.requests")?;
    let to = report["complete_through"].as_str().context("complete_through")?;
    let stored = machine
        .number(&format!(
            "SELECT sum(n) FROM usage_records WHERE ts < parseDateTime64BestEffort('{to}', 6, 'UTC')"
        ))
        .await?;
    ensure!(
        reported == stored,
        "the report counts {reported} requests before {to}, the table holds {stored}: {report}"
    );
    Ok(())
}

/// Metered and enforced numbers agree to the unit, and neither exceeds the limit.
async fn quota_equals_records(machine: &Machine, caller: &Caller, answers: &Answers) -> anyhow::Result<()> {
    let consumer = format!("shop/{}", caller.name);
    let charged = charged(machine, &consumer).await?;
    if caller.period != "Year" {
        return windows_hold(caller, answers);
    }
    ensure!(
        charged <= caller.quota,
        "{consumer}: {charged} units are charged, {} were allowed",
        caller.quota
    );
    let served = answers.units(&consumer);
    ensure!(served <= charged, "{consumer}: {served} units were received, only {charged} are charged");
    eventually(&format!("the quota of {consumer} counts its records"), SETTLED_WITHIN, || async {
        let quotas = machine
            .analytics(&format!("/v1/quotas?consumer={consumer}"))
            .await
            .map_err(|error| format!("{error:#}"))?;
        let all = quotas["quotas"].as_array().cloned().unwrap_or_default();
        match all.as_slice() {
            [one] if one["used"] == charged && one["unaccounted"] == 0 => Ok(()),
            _ => Err(format!("{charged} units are charged in records; {quotas}")),
        }
    })
    .await;
    Ok(())
}

/// Units that the records of a consumer charge to leases.
pub async fn charged(machine: &Machine, consumer: &str) -> anyhow::Result<u64> {
    let rows: Vec<Charged> = machine
        .query(
            "SELECT consumer, sum(arraySum((unit, lease) -> if(lease = 0, 0, unit), charge_units, charge_lease)) AS units \
             FROM usage_records GROUP BY consumer",
        )
        .await?;
    Ok(rows.into_iter().filter(|row| row.consumer == consumer).map(|row| row.units).sum())
}

/// In no calendar minute were more answers received than the quota allows. Left out are answers of which clients
/// cannot know which minute admitted them: those that ended in the next one, and those that began while leases of
/// the former one may still be spent.
fn windows_hold(caller: &Caller, answers: &Answers) -> anyhow::Result<()> {
    ensure!(caller.period == "Minute", "only minutes and years are audited");
    let consumer = format!("shop/{}", caller.name);
    let mut minutes: BTreeMap<i64, u64> = BTreeMap::new();
    for answer in answers.by_id.values().filter(|answer| answer.consumer == consumer && answer.status == 200)
    {
        let minute = |time: Timestamp| time.as_second().div_euclid(60);
        let (began, ended) = (minute(answer.sent - LEASES_OUTLIVE), minute(answer.received));
        if began == ended {
            *minutes.entry(began).or_default() += 1;
        }
    }
    let most = minutes.values().copied().max().unwrap_or_default();
    ensure!(most <= caller.quota, "{consumer}: {most} answers in one minute, {} are allowed", caller.quota);
    println!("{consumer}: at most {most} of {} in each of {} minutes", caller.quota, minutes.len());
    Ok(())
}

/// Counts are exact, also where detail was given up: requests by consumer and status are what clients received.
///
/// # Errors
/// With what differs.
pub async fn counts(machine: &Machine, answers: &Answers) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Count {
        consumer: String,
        status: u16,
        n: u64,
    }
    complete(machine, answers.last().context("no answer at all")?).await;
    let mut received: BTreeMap<(String, u16), u64> = BTreeMap::new();
    for answer in answers.by_id.values() {
        *received.entry((answer.consumer.clone(), answer.status)).or_default() += 1;
    }
    let rows: Vec<Count> = machine
        .query("SELECT consumer, status, toUInt64(sum(n)) AS n FROM usage_records GROUP BY consumer, status")
        .await?;
    let stored: BTreeMap<_, _> = rows.into_iter().map(|row| ((row.consumer, row.status), row.n)).collect();
    ensure!(received == stored, "received {received:?}, stored {stored:?}");
    Ok(())
}
