//! Quotas: the protocol of gateways, and how accounts stand for people.

use analytics_query::Forecast;
use axum::Json;
use axum::extract::State;
use gateway_quota::{AccountView, Mode, QuotaKey, message};
use gateway_snapshot::{Catalog, CatalogLimit, SubscriptionState};
use jiff::Timestamp;
use serde::Serialize;

use super::params::Params;
use super::{App, Problem};
use crate::alerts::{consumer_of, forecast};
use crate::authority::Account;

/// A batch of a gateway's asks; the reply is durable.
#[utoipa::path(post, path = "/v1/quota", tag = "gateways",
    request_body(content = Object, description = "`gateway_quota::message::Batch`"),
    responses((status = 200, description = "`gateway_quota::message::Reply`", body = Object), (status = 400, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn batch(
    State(app): State<App>,
    Json(batch): Json<message::Batch>,
) -> Result<Json<message::Reply>, Problem> {
    batch.check().map_err(Problem::bad)?;
    Ok(Json(app.authority.batch(batch).await?))
}

/// How a limit stands for one subject in its present window.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub(super) struct Quota {
    limit: String,
    /// Resource that says so.
    source: String,
    subject: String,
    pub(super) consumer: String,
    unit: String,
    /// hard, soft or observe.
    mode: &'static str,
    max: u64,
    /// Units above `max` that a soft limit still admits.
    overdraft: u64,
    /// hour, day, …
    #[schema(value_type = String)]
    window: serde_json::Value,
    zone: String,
    #[schema(value_type = String, format = DateTime)]
    window_start: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    window_end: Timestamp,
    /// Settled, and reported by holders.
    used: u64,
    /// Granted and not yet reported as used.
    leased: u64,
    remaining: u64,
    /// Units that lost gateways may have used; charged here, never billed.
    unaccounted: u64,
    /// `used` by `max`.
    pub(super) ratio: f64,
    #[schema(value_type = Object)]
    forecast: Forecast,
    thresholds: Vec<u8>,
    crossed: Vec<u8>,
}

/// Accounts, the fullest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Quotas {
    quotas: Vec<Quota>,
}

/// How all limits stand.
#[utoipa::path(get, path = "/v1/quotas", tag = "quotas",
    params(("consumer" = Option<String>, Query), ("limit" = Option<String>, Query, description = "Prefix of the limit's id"),
        ("subject" = Option<String>, Query)),
    responses((status = 200, body = Quotas)))]
pub(super) async fn list(State(app): State<App>, mut params: Params) -> Result<Json<Quotas>, Problem> {
    let consumer = params.take("consumer")?;
    let limit = params.take("limit")?.unwrap_or_default();
    let subject = params.take("subject")?;
    params.finish()?;
    let mut quotas = all(&app).await?;
    quotas.retain(|quota| {
        consumer.as_ref().is_none_or(|wanted| quota.consumer == *wanted)
            && subject.as_ref().is_none_or(|wanted| quota.subject == *wanted)
            && quota.limit.starts_with(&limit)
    });
    Ok(Json(Quotas { quotas }))
}

/// All accounts of windows that run now, those of unused subscriptions included; the fullest first.
pub(super) async fn all(app: &App) -> Result<Vec<Quota>, Problem> {
    let (now, catalog) = (app.clock.wall(), app.catalog());
    let mut accounts = app.authority.accounts().await?;
    accounts.retain(|account| account.view.window.contains(now));
    let unused = unused(&catalog, &accounts, now);
    let all = accounts.into_iter().chain(unused);
    let mut quotas: Vec<Quota> = all.filter_map(|account| quota(&account, &catalog, now)).collect();
    quotas.sort_by(|a, b| {
        b.ratio.total_cmp(&a.ratio).then_with(|| (&a.limit, &a.subject).cmp(&(&b.limit, &b.subject)))
    });
    Ok(quotas)
}

/// Accounts that nobody has touched yet: every limit of the plan of every active subscription.
fn unused(catalog: &Catalog, known: &[Account], now: Timestamp) -> Vec<Account> {
    let mut found = Vec::new();
    for (name, subscription) in &catalog.subscriptions {
        if subscription.state != SubscriptionState::Active {
            continue;
        }
        let prefix = format!("plan/{}/", subscription.plan);
        for (id, entry) in
            catalog.limits.range(prefix.clone()..).take_while(|(id, _)| id.starts_with(&prefix))
        {
            let key = QuotaKey::new(id.as_str(), format!("subscription/{name}"));
            if !known.iter().any(|account| account.view.key == key) {
                found.push(Account { view: untouched(key, entry, now), recent: (0, 0.0) });
            }
        }
    }
    found
}

fn untouched(key: QuotaKey, entry: &CatalogLimit, now: Timestamp) -> AccountView {
    AccountView {
        key,
        window: entry.limit.window.at(now),
        quantity: entry.limit.quantity,
        ceiling: entry.limit.ceiling(),
        settled: 0,
        unaccounted: 0,
        used: 0,
        leased: 0,
        remaining: entry.limit.ceiling(),
        fired: Vec::new(),
        leases: 0,
    }
}

/// An account of a limit that the catalog knows.
fn quota(account: &Account, catalog: &Catalog, now: Timestamp) -> Option<Quota> {
    let view = &account.view;
    let entry = catalog.limits.get(view.key.limit.as_str())?;
    let limit = &entry.limit;
    let (mode, overdraft) = match limit.mode {
        Mode::Hard => ("hard", 0),
        Mode::Soft { overdraft } => ("soft", overdraft),
        Mode::Observe => ("observe", 0),
    };
    let subject = view.key.subject.as_str();
    let mut crossed = view.fired.clone();
    crossed.sort_unstable();
    Some(Quota {
        limit: limit.id.to_string(),
        source: entry.source.clone(),
        subject: subject.to_owned(),
        consumer: consumer_of(subject, catalog).to_owned(),
        unit: limit.unit.word().to_owned(),
        mode,
        max: limit.quantity,
        overdraft,
        window: serde_json::to_value(limit.window.period()).unwrap_or_default(),
        zone: limit.window.zone_name().to_owned(),
        window_start: view.window.start,
        window_end: view.window.end,
        used: view.used,
        leased: view.leased,
        remaining: view.remaining,
        unaccounted: view.unaccounted,
        ratio: if limit.quantity == 0 { 1.0 } else { view.used as f64 / limit.quantity as f64 },
        forecast: forecast::standing(account).forecast(now),
        thresholds: limit.thresholds.clone(),
        crossed,
    })
}
