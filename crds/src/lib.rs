//! Turnpike's own resource kinds as users write them, and the standard kinds that it reads.
//!
//! In: nothing. Out: Rust types for serde and kube, the generated `CustomResourceDefinition`s of our kinds
//! ([`definitions`], as text [`DEFINITIONS`]), the standard ones as published ([`STANDARD_DEFINITIONS`]), and the closed vocabulary of
//! status conditions ([`conditions`]).
//!
//! The types say what may be written, never what it means: references are resolved and limits compiled in
//! `operator-compile`. This crate reads no file, no clock and no cluster. The documentation of a field is its
//! reference documentation: it ends up in the CRD that `kubectl explain` shows.

#![allow(clippy::duplicated_attributes, reason = "it takes the printer columns of a kind for duplicates")]

pub mod alert_policy;
pub mod api_product;
pub mod auth_policy;
pub mod conditions;
pub mod consumer;
mod definitions;
mod duration;
pub mod gateway_api;
pub mod gateway_fleet;
pub mod plan;
mod policy;
pub mod quota_policy;
pub mod rate_limit_policy;
mod status;
pub mod subscription;
pub mod transform_policy;

pub use alert_policy::AlertPolicy;
pub use api_product::ApiProduct;
pub use auth_policy::AuthPolicy;
pub use consumer::Consumer;
pub use definitions::{DEFINITIONS, STANDARD_DEFINITIONS, definitions};
pub use duration::{Duration, parse_millis};
pub use gateway_fleet::GatewayFleet;
pub use k8s_openapi;
pub use plan::Plan;
pub use policy::{By, Dimension, ObjectReference, PolicyTarget, QuotaTarget};
pub use quota_policy::QuotaPolicy;
pub use rate_limit_policy::RateLimitPolicy;
pub use status::{AncestorReference, AncestorStatus, ObjectStatus, PolicyStatus, UsageStatus};
pub use subscription::Subscription;
pub use transform_policy::TransformPolicy;

/// The API group of our kinds.
pub const GROUP: &str = "turnpike.dev";

/// The version of our kinds.
pub const VERSION: &str = "v1alpha1";
