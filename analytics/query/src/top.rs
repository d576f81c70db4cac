//! The largest values of a dimension: top consumers, slowest routes.
//!
//! In: a window, a dimension, an order. Out: a statement and the shape of its rows.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Dimension, Filters, Statement, TABLE, Value, Window, filter, series};

/// Not an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("order `{0}` is unknown; use requests, errors, refused, response_bytes or p95")]
pub struct UnknownOrder(pub String);

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TopOrder {
    /// Most requests.
    #[default]
    Requests,
    /// Most errors.
    Errors,
    /// Most refusals.
    Refused,
    /// Most bytes of response bodies.
    ResponseBytes,
    /// Slowest.
    P95,
}

impl FromStr for TopOrder {
    type Err = UnknownOrder;

    fn from_str(name: &str) -> Result<Self, UnknownOrder> {
        Ok(match name {
            "requests" => Self::Requests,
            "errors" => Self::Errors,
            "refused" => Self::Refused,
            "response_bytes" => Self::ResponseBytes,
            "p95" => Self::P95,
            other => return Err(UnknownOrder(other.chars().take(40).collect())),
        })
    }
}

/// The largest values of a dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopQuestion {
    /// Of which time.
    pub window: Window,
    /// Values of this.
    pub by: Dimension,
    /// Largest in this.
    pub order: TopOrder,
    /// How many.
    pub limit: u64,
    /// Of which records.
    pub filters: Filters,
}

/// One value with its traffic.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TopRow {
    /// The value, as text.
    pub key: String,
    /// Requests that ended.
    pub requests: u64,
    /// With status 500 and above.
    pub errors: u64,
    /// Refused by the gateway.
    pub refused: u64,
    /// Of request bodies.
    pub request_bytes: u64,
    /// Of response bodies.
    pub response_bytes: u64,
    /// Median duration in milliseconds.
    pub p50_ms: Option<f64>,
    /// 95th percentile of the duration.
    pub p95_ms: Option<f64>,
    /// 99th percentile of the duration.
    pub p99_ms: Option<f64>,
    /// End of the latest request, milliseconds since 1970.
    pub last_ms: i64,
}

impl TopQuestion {
    /// The statement; its rows are [`TopRow`]s.
    pub fn statement(&self) -> Statement {
        let order = match self.order {
            TopOrder::Requests => "requests",
            TopOrder::Errors => "errors",
            TopOrder::Refused => "refused",
            TopOrder::ResponseBytes => "response_bytes",
            TopOrder::P95 => "p95_ms",
        };
        let mut statement = Statement::new();
        statement.push(&format!(
            "SELECT\n  {} AS key,\n{},\n  toUnixTimestamp64Milli(max(ts)) AS last_ms\nFROM {TABLE} AS r\n",
            self.by.sql_text(),
            series::measures()
        ));
        filter::write_where(&mut statement, self.window, &self.filters);
        statement.push(&format!("\nGROUP BY key\nORDER BY {order} DESC, key\nLIMIT "));
        statement.value(Value::Number(self.limit));
        statement
    }
}
