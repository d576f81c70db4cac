//! The kinds that we read, as one table, and the collection of their objects.

use std::collections::BTreeMap;

use crds::gateway_api::{
    BackendTlsPolicy, Gateway, GatewayClass, GrpcRoute, HttpRoute, ListenerSet, ReferenceGrant, XBackend,
    XTelemetryPolicy,
};
use crds::k8s_openapi::ByteString;
use crds::k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use crds::k8s_openapi::api::discovery::v1::EndpointSlice;
use crds::{
    AlertPolicy, ApiProduct, AuthPolicy, Consumer, GatewayFleet, Plan, QuotaPolicy, RateLimitPolicy,
    Subscription, TransformPolicy,
};
use kube::core::ApiResource;
use serde_json::Value;

use super::{Object, ObjectName, Objects, Origin};

macro_rules! kinds {
    ($($(#[$doc:meta])* $field:ident: $type:ident = $kind:literal,)+) => {
        /// Objects by kind and name.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Resources { $($(#[$doc])* pub $field: Objects<$type>,)+ }

        impl Resources {
            /// Adds an object that fits its schema; the error says why it does not fit its type.
            pub(super) fn insert(
                &mut self,
                kind: &str,
                name: ObjectName,
                origin: Origin,
                value: Value,
            ) -> Result<(), serde_json::Error> {
                match kind {
                    $($kind => {
                        let value = serde_json::from_value::<$type>(value)?;
                        self.$field.insert(name, Object::new(origin, value));
                    })+
                    _ => unreachable!("every definition is in the table of kinds, a test says"),
                }
                Ok(())
            }

            /// Puts an object that an API server has accepted, which is in no file. Whether it differs from what was there.
            ///
            /// # Errors
            /// When it does not fit its type; what was there stays.
            pub fn put(&mut self, kind: &str, name: &ObjectName, value: Value) -> Result<bool, serde_json::Error> {
                match kind {
                    $($kind => {
                        let object = Object::new(Origin::default(), serde_json::from_value::<$type>(value)?);
                        if self.$field.get(name) == Some(&object) {
                            return Ok(false);
                        }
                        self.$field.insert(name.clone(), object);
                    })+
                    _ => return Ok(false),
                }
                Ok(true)
            }

            /// Takes an object out; whether it was there.
            pub fn remove(&mut self, kind: &str, name: &ObjectName) -> bool {
                match kind {
                    $($kind => self.$field.remove(name).is_some(),)+
                    _ => false,
                }
            }

            /// Names of the objects of a kind.
            pub fn names(&self, kind: &str) -> Vec<ObjectName> {
                match kind {
                    $($kind => self.$field.keys().cloned().collect(),)+
                    _ => Vec::new(),
                }
            }

            /// The kinds, and how an API server calls them.
            pub fn apis() -> Vec<(&'static str, ApiResource)> {
                vec![$(($kind, ApiResource::erase::<$type>(&()))),+]
            }

            /// Number of objects of all kinds.
            pub fn len(&self) -> usize {
                0 $(+ self.$field.len())+
            }

            /// Name and revision of every object of some kinds.
            pub(crate) fn revisions(&self, of: impl Fn(&str) -> bool) -> impl Iterator<Item = (&ObjectName, u64)> {
                std::iter::empty()$(.chain(
                    of($kind)
                        .then(|| self.$field.iter().map(|(name, object)| (name, object.revision())))
                        .into_iter()
                        .flatten(),
                ))+
            }

            /// Where an object was written.
            pub(crate) fn origin(&self, kind: &str, name: &ObjectName) -> Option<&Origin> {
                match kind {
                    $($kind => Some(&self.$field.get(name)?.origin),)+
                    _ => None,
                }
            }
        }

        #[cfg(test)]
        pub(super) const KINDS: &[&str] = &[$($kind,)+];
    };
}

kinds! {
    /// Cluster-scoped.
    gateway_classes: GatewayClass = "GatewayClass",
    /// Gateways.
    gateways: Gateway = "Gateway",
    /// Further listeners of Gateways.
    listener_sets: ListenerSet = "ListenerSet",
    /// HTTPRoutes.
    http_routes: HttpRoute = "HTTPRoute",
    /// GRPCRoutes.
    grpc_routes: GrpcRoute = "GRPCRoute",
    /// Leave to refer into a namespace.
    reference_grants: ReferenceGrant = "ReferenceGrant",
    /// TLS towards backends.
    backend_tls_policies: BackendTlsPolicy = "BackendTLSPolicy",
    /// Backends that are not Services.
    backends: XBackend = "XBackend",
    /// Tracing.
    telemetry_policies: XTelemetryPolicy = "XTelemetryPolicy",
    /// `stringData` has been merged into `data`.
    secrets: Secret = "Secret",
    /// Services.
    services: Service = "Service",
    /// Endpoints of Services.
    endpoint_slices: EndpointSlice = "EndpointSlice",
    /// ConfigMaps.
    config_maps: ConfigMap = "ConfigMap",
    /// Cluster-scoped; only for their labels, a namespace need not be declared.
    namespaces: Namespace = "Namespace",
    /// Parameters of gateways.
    gateway_fleets: GatewayFleet = "GatewayFleet",
    /// Callers.
    consumers: Consumer = "Consumer",
    /// What subscribers may use.
    plans: Plan = "Plan",
    /// Routes under one name.
    api_products: ApiProduct = "ApiProduct",
    /// Consumer × product × plan.
    subscriptions: Subscription = "Subscription",
    /// How callers prove who they are.
    auth_policies: AuthPolicy = "AuthPolicy",
    /// Limits over short times.
    rate_limit_policies: RateLimitPolicy = "RateLimitPolicy",
    /// Limits over calendar times.
    quota_policies: QuotaPolicy = "QuotaPolicy",
    /// Whom to tell when quotas fill.
    alert_policies: AlertPolicy = "AlertPolicy",
    /// Answers without an upstream.
    transform_policies: TransformPolicy = "TransformPolicy",
}

impl Resources {
    /// Whether there is no object at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Merges the texts of Secrets into their data, as an API server does when it stores them.
    pub(super) fn merge_string_data(secret: &mut Object<Secret>) {
        let texts: BTreeMap<String, String> = secret.string_data.take().unwrap_or_default();
        if !texts.is_empty() {
            let data = secret.data.get_or_insert_default();
            data.extend(texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_definition_is_in_the_table() {
        let defined: Vec<&str> =
            super::super::definition::DEFINITIONS.iter().map(|d| d.kind.as_str()).collect();
        let mut listed = super::KINDS.to_vec();
        let mut expected = defined;
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected);
    }
}
