//! What the schemas and rules of our kinds accept and refuse.

use super::{read_one, said};

/// An object; words in capitals stand for parts that many specs have.
fn object(kind: &str, spec: &str) -> String {
    let spec = spec.replace("ROUTE", ROUTE).replace("HASH", HASH).replace("QUOTA", QUOTA);
    format!("apiVersion: turnpike.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n")
}

const ROUTE: &str = "targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}]";
const QUOTA: &str = "name: a, quantity: 5, period: Month";
const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Kind and spec.
const ACCEPTED: &[(&str, &str)] = &[
    ("GatewayFleet", "{}"),
    (
        "GatewayFleet",
        "{limits: {maxConnections: 100, maxHeaderBytes: 4096, maxHeaders: 64, maxUriBytes: 1024, maxBodyBytes: 0}, \
             timeouts: {header: 5s, idle: 1m, request: 0s, connect: 500ms, drain: 1h}, trustedProxies: [10.0.0.0/8, \
             'fd00::/8'], accessLog: {enabled: true}, telemetry: {tracing: {endpoint: 'http://127.0.0.1:4318', \
             samplingPerMille: 1000}}}",
    ),
    ("Consumer", "{}"),
    (
        "Consumer",
        "{displayName: A, groups: [a, b], tags: {k: v}, billingId: '7', disabled: true, credentials: \
                 {apiKeys: [{name: a, sha256: HASH, notAfter: 2030-01-01T00:00:00Z}, {name: b, secretRef: \
                 {name: s, key: k, holds: Key}}]}}",
    ),
    ("Plan", "{}"),
    (
        "Plan",
        "{displayName: A, description: B, rates: [{name: r, requests: 5, period: 1s, burst: 9}], quotas: [{name: a, \
             unit: Bytes, quantity: 5, period: Month, zone: Europe/Berlin, mode: Soft, overdraft: 3, alertAt: [90]}, \
             {name: b, quantity: 5, period: Minute, alertAt: []}], prices: [{unit: Requests, included: 5, amount: '0.25', \
             currency: EUR, per: 1000}]}",
    ),
    (
        "ApiProduct",
        "{displayName: A, description: B, ROUTE, plans: [{name: gold}], stage: Deprecated, deprecatedAt: \
                 2026-01-01T00:00:00Z, sunsetAt: 2027-01-01T00:00:00Z, subscriptionRequired: false}",
    ),
    (
        "Subscription",
        "{consumerRef: {name: a}, productRef: {name: b, namespace: other}, planRef: {name: c}, state: Pending, notBefore: \
             2026-01-01T00:00:00Z, notAfter: 2027-01-01T00:00:00+01:00}",
    ),
    (
        "AuthPolicy",
        "{ROUTE, apiKey: {sources: [{type: Header, name: X-Key, scheme: Token}, {type: Query, name: key}, \
                 {type: Cookie, name: k}]}, allowAnonymous: true, authorize: {groups: [a]}, hideCredentials: false}",
    ),
    ("RateLimitPolicy", "{ROUTE, requests: 5, period: 1m, burst: 10, by: {type: Header, header: X}}"),
    ("QuotaPolicy", "{ROUTE, limits: [{name: a, quantity: 5, period: Day}], by: {type: ClientAddress}}"),
    (
        "AlertPolicy",
        "{targetRefs: [{group: turnpike.dev, kind: Plan, name: gold, sectionName: q}], thresholds: [90], forecast: true, \
             channels: [{type: Alertmanager, alertmanager: {url: 'http://127.0.0.1:9093'}}, {type: Webhook, webhook: {url: \
             'https://example.com/hook', secretRef: {name: s}}}]}",
    ),
    ("TransformPolicy", "{mock: {}}"),
    ("TransformPolicy", "{mock: {status: 201, headers: [{name: X, value: z}], body: '{}'}}"),
];

#[test]
fn every_field_is_accepted() {
    for (kind, spec) in ACCEPTED {
        let (resources, diagnostics) = read_one(&object(kind, spec));
        assert_eq!(diagnostics, [], "{kind} {spec}");
        assert_eq!(resources.len(), 1);
    }
}

/// Kind, spec, and how the answer begins.
const REFUSED: &[(&str, &str, &str)] = &[
    ("GatewayFleet", "{limits: {maxHeaders: 0}}", "spec.limits.maxHeaders: must be at least 8, not 0"),
    ("GatewayFleet", "{timeouts: {idle: 1d}}", "spec.timeouts.idle: \"1d\" does not match"),
    (
        "GatewayFleet",
        "{timeouts: {idle: 5}}",
        "spec.timeouts.idle: must be a string, not the number 5; put it in quotes",
    ),
    ("GatewayFleet", "{trustedProxies: [10.0.0.1]}", "spec.trustedProxies[0]: \"10.0.0.1\" does not match"),
    ("Consumer", "{groups: [a, a]}", "spec.groups[1]: \"a\" is already that of element [0]"),
    (
        "Consumer",
        "{credentials: {apiKeys: [{name: a}]}}",
        "spec.credentials.apiKeys[0]: exactly one of sha256 and secretRef must be set",
    ),
    (
        "Consumer",
        "{credentials: {apiKeys: [{name: a, key: secret}]}}",
        "spec.credentials.apiKeys[0].key: unknown field; fields here are name, notAfter, secretRef, sha256",
    ),
    (
        "Consumer",
        "{credentials: {apiKeys: [{name: a, sha256: secret}]}}",
        "spec.credentials.apiKeys[0].sha256: \"secret\" does not match",
    ),
    (
        "Consumer",
        "{credentials: {apiKeys: [{name: a, sha256: HASH, notAfter: tomorrow}]}}",
        "spec.credentials.apiKeys[0].notAfter: \"tomorrow\" is not a moment in time such as 2026-01-31T12:00:00Z",
    ),
    (
        "Plan",
        "{quotas: [{QUOTA, mode: hard}]}",
        "spec.quotas[0].mode: \"hard\" is not a value of this field; did you mean Hard?",
    ),
    ("Plan", "{quotas: [{QUOTA, overdraft: 1}]}", "spec.quotas[0]: overdraft is only for mode Soft"),
    ("Plan", "{quotas: [{QUOTA, alertAt: [0]}]}", "spec.quotas[0].alertAt[0]: must be at least 1, not 0"),
    ("Plan", "{quotas: [{QUOTA, zone: '../etc'}]}", "spec.quotas[0].zone: \"../etc\" does not match"),
    ("Plan", "{quotas: [{name: a, period: Day}]}", "spec.quotas[0]: the field quantity is missing; add it"),
    (
        "Plan",
        "{quotas: [{name: a, quantity: 0, period: Day}]}",
        "spec.quotas[0].quantity: must be at least 1, not 0",
    ),
    (
        "Plan",
        "{quotas: [{name: a, quantity: 1.5, period: Day}]}",
        "spec.quotas[0].quantity: must be an integer",
    ),
    (
        "Plan",
        "{rates: [{name: a, requests: 1}, {name: a, requests: 2}]}",
        "spec.rates[1]: name \"a\" is already that of element [0]",
    ),
    ("Plan", "{rates: [{name: a, requests: 1, period: 0s}]}", "spec.rates[0].period: period must not be 0"),
    (
        "Plan",
        "{prices: [{unit: Requests, amount: 0.1, currency: EUR}]}",
        "spec.prices[0].amount: must be a string",
    ),
    ("ApiProduct", "{targetRefs: []}", "spec.targetRefs: must have at least 1 elements, not 0"),
    ("ApiProduct", "{}", "spec: the field targetRefs is missing; add it"),
    (
        "ApiProduct",
        "{ROUTE, deprecatedAt: 2027-01-01T00:00:00Z, sunsetAt: 2026-01-01T00:00:00Z}",
        "spec: sunsetAt must not be before deprecatedAt",
    ),
    (
        "Subscription",
        "{consumerRef: {name: a}, productRef: {name: b}, planRef: {name: c}, notBefore: 2026-01-01T00:00:00Z, notAfter: \
             2026-01-01T00:00:00Z}",
        "spec: notAfter must be later than notBefore",
    ),
    (
        "AuthPolicy",
        "{targetRefs: [{group: gateway.networking.k8s.io, kind: Service, name: r}]}",
        "spec.targetRefs[0].kind: \"Service\" is not a value of this field; write Gateway or HTTPRoute or GRPCRoute",
    ),
    (
        "AuthPolicy",
        "{ROUTE, apiKey: {sources: [{type: Query, name: a, scheme: b}]}}",
        "spec.apiKey.sources[0]: scheme is only for type Header",
    ),
    ("AuthPolicy", "{ROUTE, apiKey: {sources: []}}", "spec.apiKey.sources: must have at least 1 elements"),
    ("RateLimitPolicy", "{ROUTE}", "spec: the field requests is missing"),
    (
        "RateLimitPolicy",
        "{ROUTE, requests: 1, by: {type: Header}}",
        "spec.by: header must be set exactly when type is Header",
    ),
    ("RateLimitPolicy", "{ROUTE, requests: 1, period: 0ms}", "spec.period: period must not be 0"),
    ("QuotaPolicy", "{ROUTE, limits: []}", "spec.limits: must have at least 1 elements, not 0"),
    ("AlertPolicy", "{channels: []}", "spec.channels: must have at least 1 elements, not 0"),
    (
        "AlertPolicy",
        "{channels: [{type: Webhook, alertmanager: {url: 'http://a'}}]}",
        "spec.channels[0]: alertmanager must be set exactly when type is Alertmanager",
    ),
    (
        "AlertPolicy",
        "{channels: [{type: Alertmanager, alertmanager: {url: 'ftp://a'}}]}",
        "spec.channels[0].alertmanager.url: \"ftp://a\" does not match",
    ),
    ("TransformPolicy", "{}", "spec: the field mock is missing"),
    ("TransformPolicy", "{mock: {status: 99}}", "spec.mock.status: must be at least 200, not 99"),
    (
        "TransformPolicy",
        "{mock: {headers: [{name: X, value: \"a\\r\\nb\"}]}}",
        "spec.mock.headers[0].value: \"a\\r\\nb\" does not match",
    ),
];

#[test]
fn mistakes_are_refused() {
    for (kind, spec, expected) in REFUSED {
        let said = said(&object(kind, spec));
        let expected = format!(": error: {kind} default/x: {expected}");
        assert!(
            said.iter().any(|line| line.contains(&expected)),
            "{spec}\n     got {said:#?}\nexpected {expected}"
        );
    }
}
