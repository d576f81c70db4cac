//! `GET /v1/consumers…`: who there is, what they used, how far their quotas reach.

use std::collections::BTreeMap;

use analytics_query::{Dimension, Filters, TopOrder, TopQuestion, TopRow, Window, utc};
use axum::Json;
use axum::extract::{Path, State};
use gateway_snapshot::{Catalog, CatalogConsumer, SubscriptionState};
use jiff::Timestamp;
use serde::Serialize;

use super::params::{Params, Scope};
use super::quotas::Quota;
use super::traffic::TopEntry;
use super::{App, Problem};

/// A consumer with usage and quotas.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Consumer {
    /// `namespace/name`.
    name: String,
    display_name: String,
    billing_id: Option<String>,
    groups: Vec<String>,
    tags: BTreeMap<String, String>,
    requests: u64,
    errors: u64,
    refused: u64,
    last_seen: Option<String>,
    quotas: Vec<Quota>,
}

/// All consumers.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Consumers {
    consumers: Vec<Consumer>,
}

/// One consumer in detail.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Detail {
    #[serde(flatten)]
    consumer: Consumer,
    subscriptions: Vec<Subscribed>,
    routes: Vec<TopEntry>,
    reasons: Vec<Reason>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Subscribed {
    name: String,
    product: String,
    plan: String,
    /// active, pending or suspended.
    #[schema(value_type = String)]
    state: SubscriptionState,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Reason {
    reason: String,
    requests: u64,
}

/// Every consumer of the catalog, and those that only records know.
#[utoipa::path(get, path = "/v1/consumers", tag = "consumers",
    params(("from" = Option<String>, Query), ("to" = Option<String>, Query)), responses((status = 200, body = Consumers)))]
pub(super) async fn list(State(app): State<App>, mut params: Params) -> Result<Json<Consumers>, Problem> {
    let Scope { window, filters, .. } = params.scope(app.clock.wall(), "now-24h", "now")?;
    params.finish()?;
    let mut traffic = traffic(&app, window, filters, Dimension::Consumer).await?;
    traffic.retain(|row| !row.key.is_empty());
    let mut traffic: BTreeMap<String, TopRow> =
        traffic.into_iter().map(|row| (row.key.clone(), row)).collect();
    let quotas = super::quotas::all(&app).await?;
    let catalog = app.catalog();
    let mut consumers: Vec<Consumer> = catalog
        .consumers
        .iter()
        .map(|(name, about)| consumer(name, Some(about), traffic.remove(name), &quotas))
        .collect();
    consumers.extend(traffic.into_iter().map(|(name, row)| consumer(&name, None, Some(row), &quotas)));
    Ok(Json(Consumers { consumers }))
}

/// One consumer: usage against each quota, subscriptions, routes, reasons.
#[utoipa::path(get, path = "/v1/consumers/{namespace}/{name}", tag = "consumers",
    params(("namespace" = String, Path), ("name" = String, Path), ("from" = Option<String>, Query), ("to" = Option<String>, Query)),
    responses((status = 200, body = Detail), (status = 404, body = Problem)))]
pub(super) async fn one(
    State(app): State<App>,
    Path((namespace, name)): Path<(String, String)>,
    mut params: Params,
) -> Result<Json<Detail>, Problem> {
    let Scope { window, mut filters, .. } = params.scope(app.clock.wall(), "now-24h", "now")?;
    params.finish()?;
    let name = format!("{namespace}/{name}");
    filters.add(Dimension::Consumer, name.clone()).map_err(Problem::bad)?;
    let mut total = traffic(&app, window, filters.clone(), Dimension::Consumer).await?;
    let row = total.iter().position(|row| row.key == name).map(|at| total.swap_remove(at));
    let catalog = app.catalog();
    let about = catalog.consumers.get(&name);
    if about.is_none() && row.is_none() {
        return Err(Problem::not_found(format!(
            "no consumer {name} in the catalog, and no records of it in this window"
        )));
    }
    let routes = traffic(&app, window, filters.clone(), Dimension::Route).await?;
    let reasons = traffic(&app, window, filters, Dimension::Reason).await?;
    let quotas = super::quotas::all(&app).await?;
    Ok(Json(Detail {
        consumer: consumer(&name, about, row, &quotas),
        subscriptions: subscriptions(&name, &catalog),
        routes: routes.into_iter().map(|row| TopEntry::new(row, Dimension::Route, &catalog)).collect(),
        reasons: reasons.into_iter().map(|row| Reason { reason: row.key, requests: row.requests }).collect(),
    }))
}

async fn traffic(app: &App, window: Window, filters: Filters, by: Dimension) -> Result<Vec<TopRow>, Problem> {
    let question = TopQuestion { window, by, order: TopOrder::Requests, limit: 10_000, filters };
    Ok(app.store.rows(&question.statement()).await?)
}

fn consumer(name: &str, about: Option<&CatalogConsumer>, row: Option<TopRow>, quotas: &[Quota]) -> Consumer {
    let row = row.unwrap_or_default();
    let about = about.cloned().unwrap_or_default();
    let last = (row.requests > 0).then(|| Timestamp::from_millisecond(row.last_ms).ok()).flatten();
    Consumer {
        name: name.to_owned(),
        display_name: about.display_name,
        billing_id: about.billing_id,
        groups: about.groups,
        tags: about.tags,
        requests: row.requests,
        errors: row.errors,
        refused: row.refused,
        last_seen: last.map(utc),
        quotas: quotas.iter().filter(|quota| quota.consumer == name).cloned().collect(),
    }
}

fn subscriptions(consumer: &str, catalog: &Catalog) -> Vec<Subscribed> {
    let own = catalog.subscriptions.iter().filter(|(_, subscription)| subscription.consumer == consumer);
    own.map(|(name, subscription)| Subscribed {
        name: name.clone(),
        product: subscription.product.clone(),
        plan: subscription.plan.clone(),
        state: subscription.state,
    })
    .collect()
}
