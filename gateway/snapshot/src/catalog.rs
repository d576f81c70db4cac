//! What analytics needs to know: names for people, limits to guard, alerts to raise.

use std::collections::BTreeMap;

use gateway_quota::Limit;
use serde::{Deserialize, Serialize};

use crate::{Key, Product, Subscription};

/// The analytics side of a compiled configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// Always [`crate::FORMAT`].
    pub format: u32,
    /// As in the snapshot compiled with it.
    pub version: String,
    /// By `namespace/name`.
    pub consumers: BTreeMap<Key, CatalogConsumer>,
    /// By `namespace/name`.
    pub products: BTreeMap<Key, Product>,
    /// By `namespace/name`: display name and price lines.
    pub plans: BTreeMap<Key, Vec<Price>>,
    /// By `namespace/name`.
    pub subscriptions: BTreeMap<Key, Subscription>,
    /// Every limit that the quota authority guards, by limit id.
    pub limits: BTreeMap<String, CatalogLimit>,
    /// By `namespace/name`.
    pub alerts: BTreeMap<Key, AlertRule>,
}

/// A consumer as reports show it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CatalogConsumer {
    /// For people.
    pub display_name: String,
    /// As in the invoice.
    pub billing_id: Option<String>,
    /// Free labels for grouping in reports.
    pub tags: BTreeMap<String, String>,
    /// For AuthPolicy, shown in the console.
    pub groups: Vec<String>,
}

/// A limit with where it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogLimit {
    /// The limit.
    pub limit: Limit,
    /// `Plan` or `QuotaPolicy`, and `namespace/name`.
    pub source: String,
}

/// A price line of a plan; amounts are decimal strings, never floats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// `requests` or `bytes`.
    pub unit: String,
    /// Units that cost nothing.
    pub included: u64,
    /// Price of `per` units.
    pub amount: String,
    /// ISO 4217.
    pub currency: String,
    /// Units that `amount` buys.
    pub per: u64,
}

/// When to tell whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertRule {
    /// Percent of a limit; besides the limits' own thresholds.
    pub thresholds: Vec<u8>,
    /// Also when the limit will be reached before its window ends, at the present rate.
    pub forecast: bool,
    /// Ids of the limits that it is for; one with `/` at its end stands for all limits of a plan or policy. Empty:
    /// all there are.
    pub limits: Vec<String>,
    /// Where to.
    pub channels: Vec<AlertChannel>,
}

impl AlertRule {
    /// Whether it is about the limit of this id.
    pub fn concerns(&self, limit: &str) -> bool {
        let takes = |entry: &String| limit == entry || (entry.ends_with('/') && limit.starts_with(entry));
        self.limits.is_empty() || self.limits.iter().any(takes)
    }
}

/// A way to tell.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AlertChannel {
    /// Standard Webhooks.
    Webhook {
        /// Receiver.
        url: String,
        /// Signing secret, `whsec_` and base64.
        secret: String,
    },
    /// Alertmanager's API v2.
    Alertmanager {
        /// Base URL.
        url: String,
    },
}

impl std::fmt::Debug for AlertChannel {
    // The signing secret must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Webhook { url, .. } => f.debug_struct("Webhook").field("url", url).finish_non_exhaustive(),
            Self::Alertmanager { url } => f.debug_struct("Alertmanager").field("url", url).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AlertRule;

    #[test]
    fn a_rule_concerns_whole_plans_and_single_limits() {
        let of = |limits: &[&str]| AlertRule {
            thresholds: vec![],
            forecast: false,
            limits: limits.iter().map(|limit| (*limit).to_owned()).collect(),
            channels: vec![],
        };
        let one = of(&["plan/shop/gold/month"]);
        assert!(one.concerns("plan/shop/gold/month"));
        assert!(!one.concerns("plan/shop/gold/monthly"));
        let whole = of(&["plan/shop/gold/"]);
        assert!(whole.concerns("plan/shop/gold/monthly"));
        assert!(!whole.concerns("plan/shop/golden/monthly"));
        assert!(of(&[]).concerns("quotapolicy/shop/a/b"));
    }
}
