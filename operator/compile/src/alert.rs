//! AlertPolicies → alert rules of the catalog.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crds::alert_policy::{AlertPolicySpec, Channel, ChannelType, WebhookSecret};
use crds::conditions::Reason;
use gateway_snapshot::{AlertChannel, AlertRule, Key};

use crate::check::shown;
use crate::field::{Field, SPEC};
use crate::order;
use crate::problem::Problem;
use crate::resources::{ObjectName, Resources};
use crate::status::Condition;

/// Length of a signing secret in bytes (Standard Webhooks).
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// An alert policy with what is wrong with it.
#[derive(Debug)]
pub(crate) struct CompiledAlert {
    /// `None` when there is nobody to tell, or nothing to tell about.
    pub(crate) rule: Option<AlertRule>,
    pub(crate) conditions: Vec<Condition>,
}

/// Every AlertPolicy by `namespace/name`. A broken channel is left out; the others are told.
pub(crate) fn alerts(resources: &Resources) -> BTreeMap<Key, CompiledAlert> {
    let policies = resources.alert_policies.values();
    policies.map(|policy| (order::key(&policy.metadata), one(resources, policy))).collect()
}

fn one(resources: &Resources, raw: &crds::AlertPolicy) -> CompiledAlert {
    let namespace = raw.metadata.namespace.as_deref().unwrap_or_default();
    let (mut refused, mut unresolved, mut channels) = (None, Vec::new(), Vec::new());
    let list = SPEC.key("channels");
    for (index, channel) in raw.spec.channels.iter().enumerate() {
        match self::channel(resources, namespace, channel, &list.index(index)) {
            Ok(channel) => channels.push(channel),
            Err(problem) if problem.reason == Reason::Invalid => refused = refused.or(Some(problem)),
            Err(problem) => unresolved.push(problem),
        }
    }
    let limits = match limits(resources, namespace, &raw.spec) {
        Ok(limits) => Some(limits),
        Err((found, problem)) => {
            refused = refused.or(Some(problem));
            // An empty list would stand for every limit.
            (!found.is_empty()).then_some(found)
        }
    };
    let mut thresholds = raw.spec.thresholds.clone();
    thresholds.retain(|threshold| *threshold > 0);
    thresholds.sort_unstable();
    thresholds.dedup();
    let forecast = raw.spec.forecast;
    let rule = limits.filter(|_| !channels.is_empty()).map(|limits| AlertRule {
        thresholds,
        forecast,
        limits,
        channels,
    });
    let conditions =
        vec![Condition::accepted_unless(refused.as_ref()), Condition::resolved_refs(&unresolved)];
    CompiledAlert { rule, conditions }
}

/// Ids of the limits that it is for, or `kind/namespace/name/` for all of one object; on a mistake, those that were
/// found.
fn limits(
    resources: &Resources,
    namespace: &str,
    spec: &AlertPolicySpec,
) -> Result<Vec<String>, (Vec<String>, Problem)> {
    let list = SPEC.key("targetRefs");
    let (mut found, mut first) = (Vec::new(), None);
    for (index, target) in spec.target_refs.iter().enumerate() {
        let name = ObjectName::new(namespace, &target.name);
        let names: Option<(&str, Vec<&str>)> = match (target.group.as_str(), target.kind.as_str()) {
            (crds::GROUP, "Plan") => resources
                .plans
                .get(&name)
                .map(|plan| ("plan", plan.spec.quotas.iter().map(|quota| quota.name.as_str()).collect())),
            (crds::GROUP, "QuotaPolicy") => resources.quota_policies.get(&name).map(|policy| {
                ("quotapolicy", policy.spec.limits.iter().map(|quota| quota.name.as_str()).collect())
            }),
            _ => None,
        };
        let wrong = match (names, &target.section_name) {
            (None, _) => format!("{} {name} does not exist; name a Plan or QuotaPolicy", target.kind),
            (Some((prefix, _)), None) => {
                found.push(format!("{prefix}/{name}/"));
                continue;
            }
            (Some((prefix, names)), Some(section)) if names.contains(&section.as_str()) => {
                found.push(format!("{prefix}/{name}/{section}"));
                continue;
            }
            (Some(_), Some(section)) => format!("{} {name} has no quota named {section}", target.kind),
        };
        first = first.or(Some(Problem::at(Reason::TargetNotFound, &list.index(index), wrong)));
    }
    match first {
        None => Ok(found),
        Some(problem) => Err((found, problem)),
    }
}

fn channel(
    resources: &Resources,
    namespace: &str,
    raw: &Channel,
    field: &Field<'_>,
) -> Result<AlertChannel, Problem> {
    match (raw.kind, &raw.webhook, &raw.alertmanager) {
        (ChannelType::Webhook, Some(webhook), None) => {
            let field = field.key("webhook");
            let url = url(&webhook.url, &field.key("url"))?;
            let secret = secret(resources, namespace, &webhook.secret_ref, &field.key("secretRef"))?;
            Ok(AlertChannel::Webhook { url, secret })
        }
        (ChannelType::Alertmanager, None, Some(alertmanager)) => {
            let field = field.key("alertmanager");
            let url = url(&alertmanager.url, &field.key("url"))?;
            Ok(AlertChannel::Alertmanager { url: url.trim_end_matches('/').to_owned() })
        }
        _ => Err(Problem::invalid(field, "needs exactly the member that its type names")),
    }
}

fn url(text: &str, field: &Field<'_>) -> Result<String, Problem> {
    let parsed = text.parse::<http::Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    match parsed {
        Some(_) => Ok(text.to_owned()),
        None => Err(Problem::invalid(
            field,
            format!("{} is not a URL such as `https://example.com/alerts`", shown(text)),
        )),
    }
}

fn secret(
    resources: &Resources,
    namespace: &str,
    reference: &WebhookSecret,
    field: &Field<'_>,
) -> Result<String, Problem> {
    let name = ObjectName::new(namespace, &reference.name);
    let Some(secret) = resources.secrets.get(&name) else {
        let message = format!("Secret {name} does not exist; create it or correct the name");
        return Err(Problem::at(Reason::SecretNotFound, field, message));
    };
    let wrong = |what: String| Problem::at(Reason::InvalidSecret, field, format!("Secret {name} {what}"));
    let bytes = secret.data.as_ref().and_then(|data| data.get(&reference.key));
    let bytes = bytes.ok_or_else(|| wrong(format!("has no entry `{}`; see secretRef.key", reference.key)))?;
    let text = std::str::from_utf8(bytes.0.trim_ascii_end()).ok();
    let key = text.and_then(|text| text.strip_prefix("whsec_")).and_then(|key| STANDARD.decode(key).ok());
    match (text, key) {
        (Some(text), Some(key)) if SECRET_BYTES.contains(&key.len()) => Ok(text.to_owned()),
        _ => Err(wrong(
            "holds no signing secret: `whsec_` and the base64 form of 24 to 64 random bytes".to_owned(),
        )),
    }
}
