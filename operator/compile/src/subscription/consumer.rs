//! Consumers and their credentials. Of a key that two consumers claim, the older keeps it.

use std::collections::BTreeMap;

use crds::conditions::Reason;
use crds::consumer::{ApiKey, ApiKeySecret, SecretContent};
use gateway_snapshot::{CatalogConsumer, Consumer, Credential, Key};
use sha2::{Digest, Sha256};

use super::seconds;
use crate::field::{Field, SPEC};
use crate::order;
use crate::problem::Problem;
use crate::resources::{ObjectName, Resources};
use crate::status::Condition;

/// Shortest key that we take, in bytes: 128 bits in base64url without padding have 22, in hexadecimal 32.
const MIN_KEY: usize = 22;

/// A consumer with what is wrong with it.
#[derive(Debug)]
pub(crate) struct CompiledConsumer {
    pub(crate) consumer: Consumer,
    pub(crate) catalog: CatalogConsumer,
    pub(crate) conditions: Vec<Condition>,
}

/// Every consumer by `namespace/name`.
pub(crate) fn consumers(resources: &Resources) -> BTreeMap<Key, CompiledConsumer> {
    let mut sorted: Vec<_> = resources.consumers.values().collect();
    sorted.sort_by_key(|consumer| order::age(&consumer.metadata));
    let mut owners: BTreeMap<String, Key> = BTreeMap::new();
    sorted
        .into_iter()
        .map(|consumer| {
            let key = order::key(&consumer.metadata);
            let compiled = one(resources, &key, consumer, &mut owners);
            (key, compiled)
        })
        .collect()
}

fn one(
    resources: &Resources,
    key: &Key,
    raw: &crds::Consumer,
    owners: &mut BTreeMap<String, Key>,
) -> CompiledConsumer {
    let (mut credentials, mut refused, mut unresolved) = (Vec::new(), None, Vec::new());
    let namespace = raw.metadata.namespace.as_deref().unwrap_or_default();
    let list = SPEC.key("credentials");
    let list = list.key("apiKeys");
    for (index, api_key) in raw.spec.credentials.api_keys.iter().enumerate() {
        let field = list.index(index);
        match hash(resources, namespace, api_key, &field) {
            Ok(sha256) => {
                let owner = owners.entry(sha256.clone()).or_insert_with(|| key.clone());
                if owner == key {
                    credentials
                        .push(Credential::ApiKey { sha256, not_after: seconds(api_key.not_after.as_ref()) });
                } else {
                    let message = format!(
                        "is the key of Consumer {owner} already; make another with `turnpike key new`"
                    );
                    refused = refused.or(Some(Problem::at(Reason::DuplicateCredential, &field, message)));
                }
            }
            Err(problem) if problem.reason == Reason::Invalid => refused = refused.or(Some(problem)),
            Err(problem) => unresolved.push(problem),
        }
    }
    let spec = &raw.spec;
    CompiledConsumer {
        consumer: Consumer { groups: spec.groups.clone(), credentials, disabled: spec.disabled },
        catalog: CatalogConsumer {
            display_name: spec.display_name.clone().or_else(|| raw.metadata.name.clone()).unwrap_or_default(),
            billing_id: spec.billing_id.clone(),
            tags: spec.tags.clone(),
            groups: spec.groups.clone(),
        },
        conditions: vec![Condition::accepted_unless(refused.as_ref()), Condition::resolved_refs(&unresolved)],
    }
}

fn hash(resources: &Resources, namespace: &str, raw: &ApiKey, field: &Field<'_>) -> Result<String, Problem> {
    match (&raw.sha256, &raw.secret_ref) {
        (Some(hash), None) => checked_hash(hash).ok_or_else(|| {
            Problem::invalid(
                &field.key("sha256"),
                "is not 64 hexadecimal digits; `turnpike key new` prints them",
            )
        }),
        (None, Some(reference)) => of_secret(resources, namespace, reference, &field.key("secretRef")),
        _ => Err(Problem::invalid(field, "needs exactly one of sha256 and secretRef")),
    }
}

fn checked_hash(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}

fn of_secret(
    resources: &Resources,
    namespace: &str,
    reference: &ApiKeySecret,
    field: &Field<'_>,
) -> Result<String, Problem> {
    let name = ObjectName::new(namespace, &reference.name);
    let Some(secret) = resources.secrets.get(&name) else {
        let message = format!("Secret {name} does not exist; create it or correct the name");
        return Err(Problem::at(Reason::SecretNotFound, field, message));
    };
    let wrong = |what: &str| Problem::at(Reason::InvalidSecret, field, format!("Secret {name} {what}"));
    let bytes = secret.data.as_ref().and_then(|data| data.get(&reference.key));
    let bytes =
        bytes.ok_or_else(|| wrong(&format!("has no entry `{}`; see secretRef.key", reference.key)))?;
    // A newline at the end comes from an editor or `echo`, never from a key.
    let content = bytes.0.trim_ascii_end();
    match reference.holds {
        SecretContent::Sha256 => std::str::from_utf8(content).ok().and_then(checked_hash).ok_or_else(|| {
            wrong("holds no hash of 64 hexadecimal digits; for the key itself set holds: Key")
        }),
        SecretContent::Key if content.len() < MIN_KEY => Err(wrong(&format!(
            "holds a key of less than {MIN_KEY} bytes, which can be guessed; use `turnpike key new`"
        ))),
        SecretContent::Key => Ok(hex::encode(Sha256::digest(content))),
    }
}
