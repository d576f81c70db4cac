//! A Gateway with a plain and a TLS listener, and what stands behind it, as YAML.

/// Class, Gateway with listeners `http` and `https` (for `localhost`, by the development CA), and its fleet, whose
/// spans go to `otlp`, all of them.
pub(crate) fn gateway(http: u16, https: u16, otlp: Option<u16>) -> String {
    let telemetry = otlp.map_or_else(String::new, |port| {
        format!("telemetry: {{ tracing: {{ endpoint: 'http://127.0.0.1:{port}', samplingPerMille: 1000 }} }}")
    });
    format!(
        r"apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{ name: turnpike }}
spec: {{ controllerName: turnpike.dev/gateway-controller }}
---
apiVersion: turnpike.dev/v1alpha1
kind: GatewayFleet
metadata: {{ name: fleet, namespace: shop }}
spec: {{ {telemetry} }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: web, namespace: shop, annotations: {{ turnpike.dev/issuer: development }} }}
spec:
  gatewayClassName: turnpike
  infrastructure: {{ parametersRef: {{ group: turnpike.dev, kind: GatewayFleet, name: fleet }} }}
  listeners:
    - {{ name: http, port: {http}, protocol: HTTP }}
    - {{ name: https, port: {https}, protocol: HTTPS, hostname: localhost, tls: {{ certificateRefs: [{{ name: tls }}] }} }}
"
    )
}

/// A Service `name` and its endpoint on the loopback interface.
pub(crate) fn service(name: &str, port: u16, app_protocol: &str) -> String {
    format!(
        r"---
apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: shop }}
spec:
  clusterIP: None
  ports: [{{ name: main, port: 80, targetPort: {port}, appProtocol: {app_protocol} }}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: {name}-1, namespace: shop, labels: {{ kubernetes.io/service-name: {name} }} }}
addressType: IPv4
ports: [{{ name: main, port: {port} }}]
endpoints: [{{ addresses: [127.0.0.1], conditions: {{ ready: true }} }}]
"
    )
}

/// An HTTPRoute `name` from the path prefix `path` to the Service `service`.
pub(crate) fn http_route(name: &str, path: &str, service: &str) -> String {
    format!(
        r"---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name}, namespace: shop }}
spec:
  parentRefs: [{{ name: web }}]
  rules:
    - matches: [{{ path: {{ type: PathPrefix, value: {path} }} }}]
      backendRefs: [{{ name: {service}, port: 80 }}]
"
    )
}
