//! Fields that are accepted and change nothing: whoever sets them is told.
//!
//! Where serving on without a field could harm, the field is refused by the code that would have to read it; here are
//! the others. `tests/fields.rs` finds every field that nobody reads.

use std::collections::BTreeMap;

use crds::gateway_api::{Gateway, GatewayDefaultScope, Listener, TelemetryTracing};

use crate::diagnostic::Warning;
use crate::field::{Field, SPEC};
use crate::object::ObjectRef;
use crate::resources::ObjectName;
use crate::world::World;

/// A line for each object with such fields, whether or not it is ours.
pub(crate) fn unused(world: &World<'_>) -> Vec<Warning> {
    let resources = world.resources;
    let mut out = Vec::new();
    let mut say = |kind, name: &ObjectName, fields: Vec<String>| {
        if !fields.is_empty() {
            let message = format!("not supported and left out: {}", fields.join(", "));
            out.push(Warning { object: ObjectRef::new(kind, name), message });
        }
    };
    for (name, gateway) in &resources.gateways {
        say("Gateway", name, of_gateway(gateway, world.options.shared_ports()));
    }
    for (name, set) in &resources.listener_sets {
        say("ListenerSet", name, of_listeners(&set.spec.listeners));
    }
    for (name, route) in &resources.http_routes {
        say("HTTPRoute", name, default_gateways(route.spec.use_default_gateways));
    }
    for (name, route) in &resources.grpc_routes {
        say("GRPCRoute", name, default_gateways(route.spec.use_default_gateways));
    }
    for (name, policy) in &resources.backend_tls_policies {
        say("BackendTLSPolicy", name, options(&policy.spec.options, &SPEC.key("options")));
    }
    for (name, policy) in &resources.telemetry_policies {
        say("XTelemetryPolicy", name, policy.spec.tracing.as_ref().map(of_tracing).unwrap_or_default());
    }
    out
}

fn of_gateway(gateway: &Gateway, one_machine: bool) -> Vec<String> {
    let spec = &gateway.spec;
    let mut fields = Vec::new();
    if spec.default_scope == Some(GatewayDefaultScope::All) {
        fields.push("spec.defaultScope (name the Gateway in spec.parentRefs of its routes)".to_owned());
    }
    // They are for what the shell makes in a cluster.
    for infrastructure in spec.infrastructure.iter().filter(|_| one_machine) {
        let field = SPEC.key("infrastructure");
        fields.extend((!infrastructure.labels.is_empty()).then(|| field.key("labels").to_string()));
        fields.extend((!infrastructure.annotations.is_empty()).then(|| field.key("annotations").to_string()));
    }
    fields.extend(of_listeners(&spec.listeners));
    fields
}

fn of_listeners(listeners: &[Listener]) -> Vec<String> {
    let list = SPEC.key("listeners");
    let with_tls = listeners.iter().enumerate().filter_map(|(index, raw)| Some((index, raw.tls.as_ref()?)));
    with_tls
        .flat_map(|(index, tls)| options(&tls.options, &list.index(index).key("tls").key("options")))
        .collect()
}

fn options(options: &BTreeMap<String, String>, field: &Field<'_>) -> Vec<String> {
    options.keys().map(|key| format!("{field}[{key}]")).collect()
}

fn default_gateways(scope: Option<GatewayDefaultScope>) -> Vec<String> {
    let field = "spec.useDefaultGateways (name Gateways in spec.parentRefs)";
    if scope == Some(GatewayDefaultScope::All) { vec![field.to_owned()] } else { Vec::new() }
}

fn of_tracing(raw: &TelemetryTracing) -> Vec<String> {
    let set = [
        (!raw.attributes.is_empty(), "attributes"),
        (raw.service_name.is_some(), "serviceName"),
        (raw.span_name.is_some(), "spanName"),
        (raw.parent_based_sampling.is_some(), "parentBasedSampling"),
        (raw.provider.as_ref().is_some_and(|provider| !provider.headers.is_empty()), "provider.headers"),
    ];
    set.into_iter().filter(|(set, _)| *set).map(|(_, name)| format!("spec.tracing.{name}")).collect()
}
