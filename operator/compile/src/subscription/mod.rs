//! Who may use what: consumers, products, plans, and the subscriptions that tie them together.
//!
//! Each kind is compiled by itself; a subscription is then in force when all three of its sides are valid and it may
//! refer to them.

mod consumer;
mod plan;
mod product;
mod subscriptions;

pub(crate) use consumer::{CompiledConsumer, consumers};
pub(crate) use plan::{CompiledPlan, plans};
pub(crate) use product::{CompiledProduct, products};
pub(crate) use subscriptions::{CompiledSubscription, subscriptions};

use crds::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Seconds since 1970.
fn seconds(time: Option<&Time>) -> Option<i64> {
    time.map(|time| time.0.as_second())
}
