//! A small shop as resources: one plain listener, one upstream, consumers with keys and plans of the test's choice.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// A consumer with its own plan of one hard quota.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Name of Consumer, Plan and Subscription, in namespace `shop`.
    pub name: &'static str,
    /// Units per `period`.
    pub quota: u64,
    /// `Minute` … `Year`.
    pub period: &'static str,
    /// `Requests` or `Bytes`.
    pub unit: &'static str,
    /// `Hard` or `Observe`.
    pub mode: &'static str,
}

impl Caller {
    /// With a hard quota of `quota` requests.
    pub fn new(name: &'static str, quota: u64, period: &'static str) -> Self {
        Self { name, quota, period, unit: "Requests", mode: "Hard" }
    }

    /// With a quota that is counted and never refuses.
    #[must_use]
    pub fn observed(self) -> Self {
        Self { mode: "Observe", ..self }
    }

    /// With its quota in bytes.
    #[must_use]
    pub fn in_bytes(self) -> Self {
        Self { unit: "Bytes", ..self }
    }

    /// Its API key.
    pub fn key(&self) -> String {
        format!("tk_test_{}_0123456789abcdef0123456789abcdef", self.name)
    }

    /// Plan, Consumer and Subscription.
    fn resources(&self) -> String {
        let Self { name, quota, period, unit, mode } = self;
        let hash: String = Sha256::digest(self.key()).iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        format!(
            r"---
apiVersion: turnpike.dev/v1alpha1
kind: Plan
metadata: {{ name: {name}, namespace: shop }}
spec:
  quotas:
    - {{ name: all, unit: {unit}, quantity: {quota}, period: {period}, mode: {mode} }}
---
apiVersion: turnpike.dev/v1alpha1
kind: Consumer
metadata: {{ name: {name}, namespace: shop }}
spec:
  credentials:
    apiKeys:
      - {{ name: only, sha256: {hash} }}
---
apiVersion: turnpike.dev/v1alpha1
kind: Subscription
metadata: {{ name: {name}, namespace: shop }}
spec:
  consumerRef: {{ name: {name} }}
  productRef: {{ name: shop }}
  planRef: {{ name: {name} }}
"
        )
    }
}

/// Gateway and upstream `upstream`, without routes; anyone may call.
pub fn open_gateway(http: u16, https: Option<u16>, upstream: u16) -> String {
    let tls = https.map_or_else(String::new, |port| {
        format!(
            "    - name: https\n      port: {port}\n      protocol: HTTPS\n      \
             tls: {{ certificateRefs: [{{ name: tls }}] }}\n"
        )
    });
    format!(
        r"apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{ name: turnpike }}
spec: {{ controllerName: turnpike.dev/gateway-controller }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: web, namespace: shop }}
spec:
  gatewayClassName: turnpike
  listeners:
    - {{ name: http, port: {http}, protocol: HTTP }}
{tls}---
apiVersion: v1
kind: Service
metadata: {{ name: upstream, namespace: shop }}
spec:
  clusterIP: None
  ports: [{{ name: http, port: 80, targetPort: {upstream} }}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: upstream
  namespace: shop
  labels: {{ kubernetes.io/service-name: upstream }}
addressType: IPv4
ports: [{{ name: http, port: {upstream} }}]
endpoints: [{{ addresses: [127.0.0.1], conditions: {{ ready: true }} }}]
"
    )
}

/// Gateway, route, product and authentication; the route takes `/` on any host.
pub fn gateway(listener: u16, upstream: u16, callers: &[Caller]) -> String {
    let plans =
        callers.iter().fold(String::new(), |text, caller| text + "    - { name: " + caller.name + " }\n");
    let open = open_gateway(listener, None, upstream);
    format!(
        r"{open}---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: all, namespace: shop }}
spec:
  parentRefs: [{{ name: web }}]
  rules:
    - backendRefs: [{{ name: upstream, port: 80 }}]
---
apiVersion: turnpike.dev/v1alpha1
kind: AuthPolicy
metadata: {{ name: keys, namespace: shop }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: Gateway, name: web }}]
---
apiVersion: turnpike.dev/v1alpha1
kind: ApiProduct
metadata: {{ name: shop, namespace: shop }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: all }}]
  stage: Published
  plans:
{plans}"
    )
}

/// All resources of `callers`.
pub fn callers(callers: &[Caller]) -> String {
    callers.iter().map(Caller::resources).collect()
}
