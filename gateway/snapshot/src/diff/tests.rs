//! The law of differences, over generated snapshots.

use proptest::collection::btree_map;
use proptest::prelude::*;

use super::*;
use crate::{
    ApiKeySource, Attachment, BackendChoice, BackendProtocol, BackendRef, Credential, Dimension, Endpoint,
    FORMAT, ListenerProtocol, Match, PathMatch, RouteKind, Rule, Stage, SubscriptionState,
};

fn key() -> impl Strategy<Value = Key> {
    "[ab]/[a-d]"
}

fn listener() -> impl Strategy<Value = Listener> {
    (key(), 0_u16..4, proptest::option::of("[ab]\\.example")).prop_map(|(gateway, port, hostname)| Listener {
        gateway,
        name: "web".into(),
        port,
        protocol: ListenerProtocol::Http,
        hostname,
        tls: None,
        client_certificate: None,
    })
}

fn route() -> impl Strategy<Value = Route> {
    (key(), 0_i64..3, "/[ab]", 0_u32..3).prop_map(|(name, created, path, weight)| Route {
        kind: RouteKind::Http,
        attachments: vec![Attachment { listener: format!("{name}/web"), hostnames: vec![] }],
        rules: vec![Rule {
            matches: vec![Match {
                path: PathMatch::Prefix(path),
                headers: vec![],
                query: vec![],
                method: None,
            }],
            backends: vec![BackendChoice { backend: BackendRef::To(name.clone()), weight, filters: vec![] }],
            ..Rule::default()
        }],
        name,
        created,
    })
}

fn backend() -> impl Strategy<Value = Backend> {
    proptest::collection::vec(1_u16..4, 0..3).prop_map(|ports| Backend {
        endpoints: ports.into_iter().map(|port| Endpoint { host: "10.0.0.1".into(), port }).collect(),
        protocol: BackendProtocol::Http1,
        tls: None,
    })
}

fn consumer() -> impl Strategy<Value = Consumer> {
    ("[ab]{64}", any::<bool>()).prop_map(|(sha256, disabled)| Consumer {
        groups: vec![],
        credentials: vec![Credential::ApiKey { sha256, not_after: None }],
        disabled,
    })
}

fn subscription() -> impl Strategy<Value = Subscription> {
    (key(), key(), key()).prop_map(|(consumer, product, plan)| Subscription {
        consumer,
        product,
        plan,
        state: SubscriptionState::Active,
        not_before: None,
        not_after: None,
    })
}

fn map<V: std::fmt::Debug + Clone>(value: impl Strategy<Value = V>) -> impl Strategy<Value = Entries<V>> {
    btree_map(key(), value, 0..5).prop_map(|map| map.into_iter().collect())
}

fn policies() -> impl Strategy<Value = Snapshot> {
    let auth = (any::<bool>(), "[a-c]").prop_map(|(allow_anonymous, name)| AuthPolicy {
        api_key: vec![ApiKeySource::Query { name }],
        allow_anonymous,
        groups: vec![],
        hide_credentials: false,
    });
    let rate = (1_u64..3).prop_map(|requests| RateLimitPolicy {
        requests,
        period_ms: 1000,
        burst: requests,
        by: Dimension::All,
    });
    let product = any::<bool>().prop_map(|subscription_required| Product {
        stage: Stage::Published,
        deprecated_at: None,
        sunset_at: None,
        subscription_required,
    });
    (map(auth), map(rate), map(product)).prop_map(|(auth_policies, rate_limit_policies, products)| Snapshot {
        auth_policies,
        rate_limit_policies,
        products,
        ..Snapshot::default()
    })
}

/// Of few keys, so that many are in several.
pub(crate) fn snapshot() -> impl Strategy<Value = Snapshot> {
    (
        "[0-9a-f]{4}",
        0_u32..3,
        (map(listener()), map(route()), map(backend()), map(consumer()), map(subscription())),
        policies(),
    )
        .prop_map(|(version, max_connections, maps, policies)| Snapshot {
            format: FORMAT,
            version,
            settings: Settings { max_connections, ..Settings::default() },
            listeners: maps.0,
            routes: maps.1,
            backends: maps.2,
            consumers: maps.3,
            subscriptions: maps.4,
            ..policies
        })
}

proptest! {
    #[test]
    fn applying_a_difference_leads_to_the_other_snapshot(a in snapshot(), b in snapshot()) {
        prop_assert_eq!(a.clone().apply(a.diff(&b)), b);
    }

    #[test]
    fn a_difference_survives_the_wire(a in snapshot(), b in snapshot()) {
        let text = serde_json::to_string(&a.diff(&b)).unwrap();
        let back: Diff = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(a.clone().apply(back), b);
    }

    #[test]
    fn a_snapshot_survives_the_wire(a in snapshot()) {
        let text = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), a);
    }

    #[test]
    fn nothing_changed_is_an_empty_difference(a in snapshot()) {
        prop_assert!(a.diff(&a).is_empty());
    }

    #[test]
    fn a_difference_is_as_long_as_its_changes(a in snapshot(), name in key()) {
        let mut b = a.clone();
        b.routes.remove(&name);
        prop_assert_eq!(a.diff(&b).len(), usize::from(a.routes.contains_key(&name)));
    }
}

#[test]
fn a_wrong_format_field_is_refused() {
    let mut value = serde_json::to_value(Snapshot::default()).unwrap();
    value["surprise"] = serde_json::json!(1);
    assert!(serde_json::from_value::<Snapshot>(value).is_err());
}
