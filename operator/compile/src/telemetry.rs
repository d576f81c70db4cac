//! XTelemetryPolicy (GEP-4768) → where spans go.
//!
//! Spans leave the process as a whole, so one policy is in force: that of the oldest Gateway that has one. Names and
//! attributes of spans are fixed.

use std::collections::BTreeMap;

use crds::conditions::Reason;
use crds::gateway_api::{self, Fraction, TelemetryTracing, TracingMode, XTelemetryPolicy};
use gateway_snapshot::{BackendProtocol, Settings};

use crate::backend::{self, Refusal};
use crate::field::{Field, SPEC};
use crate::listener::{CompiledGateway, Gateways};
use crate::order;
use crate::problem::Problem;
use crate::reference::End;
use crate::resources::ObjectName;
use crate::status::{Condition, ParentRef, ParentStatus, Status};
use crate::world::World;

/// What the policies say.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    by_gateway: BTreeMap<ObjectName, Tracing>,
    pub(crate) statuses: BTreeMap<ObjectName, Status>,
}

/// Spans of one Gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tracing {
    /// No spans when absent.
    endpoint: Option<String>,
    per_mille: Option<u16>,
}

/// Reads every policy, the oldest first.
pub(crate) fn telemetry(world: &World<'_>, gateways: &Gateways) -> Telemetry {
    let mut all = Telemetry::default();
    let mut sorted: Vec<_> = world.resources.telemetry_policies.iter().collect();
    sorted.sort_by_key(|(_, policy)| order::age(&policy.metadata));
    for (name, policy) in sorted {
        let ancestors = all.add(world, gateways, name, policy);
        if !ancestors.is_empty() {
            let status = Status { generation: policy.metadata.generation, ancestors, ..Status::default() };
            all.statuses.insert(name.clone(), status);
        }
    }
    all
}

impl Telemetry {
    /// Puts what the policy of the first of `gateways` that has one says into `settings`.
    pub(crate) fn apply<'g>(
        &self,
        mut gateways: impl Iterator<Item = &'g CompiledGateway>,
        settings: &mut Settings,
    ) {
        if let Some(tracing) = gateways.find_map(|gateway| self.by_gateway.get(&gateway.name)) {
            settings.otlp_endpoint.clone_from(&tracing.endpoint);
            settings.trace_per_mille = tracing.per_mille.unwrap_or(settings.trace_per_mille);
        }
    }

    fn add(
        &mut self,
        world: &World<'_>,
        gateways: &Gateways,
        name: &ObjectName,
        policy: &XTelemetryPolicy,
    ) -> Vec<ParentStatus> {
        let tracing = policy.spec.tracing.as_ref();
        let (content, unresolved) = match tracing.map(|raw| tracing_of(world, name, raw)) {
            None => (None, None),
            Some(Ok(content)) => (content, None),
            Some(Err(problem)) => (None, Some(problem)),
        };
        let mut ancestors = Vec::new();
        let list = SPEC.key("targetRefs");
        for (index, target) in policy.spec.target_refs.iter().enumerate() {
            let field = list.index(index);
            let gateway = ObjectName::new(&name.namespace, &target.name);
            let foreign = world.resources.gateways.contains_key(&gateway) && gateways.get(&gateway).is_none();
            if foreign {
                continue;
            }
            let refused = if (target.group.as_str(), target.kind.as_str()) != (gateway_api::GROUP, "Gateway")
            {
                Some(Problem::invalid(
                    &field,
                    format!("kind {} cannot be a target; name a Gateway", target.kind),
                ))
            } else if gateways.get(&gateway).is_none() {
                let message = format!("Gateway {gateway} does not exist; create it or correct the name");
                Some(Problem::at(Reason::TargetNotFound, &field, message))
            } else {
                self.claim(gateway, content.as_ref(), &field)
            };
            let accepted = Condition::accepted_unless(refused.as_ref());
            let parent = ParentRef {
                group: Some(target.group.clone()),
                kind: Some(target.kind.clone()),
                name: target.name.clone(),
                ..ParentRef::default()
            };
            let resolved = Condition::resolved_refs(unresolved.as_slice());
            ancestors.push(ParentStatus { parent, conditions: vec![accepted, resolved] });
        }
        ancestors
    }

    fn claim(
        &mut self,
        gateway: ObjectName,
        content: Option<&Tracing>,
        field: &Field<'_>,
    ) -> Option<Problem> {
        if self.by_gateway.contains_key(&gateway) {
            let message = format!(
                "an XTelemetryPolicy that came first is in force for Gateway {gateway}; delete one of the two"
            );
            return Some(Problem::at(Reason::Conflicted, field, message));
        }
        self.by_gateway.extend(content.map(|content| (gateway, content.clone())));
        None
    }
}

/// `None` when the policy leaves tracing as it is.
fn tracing_of(
    world: &World<'_>,
    name: &ObjectName,
    raw: &TelemetryTracing,
) -> Result<Option<Tracing>, Problem> {
    match raw.mode.unwrap_or(TracingMode::ImplementationDefault) {
        TracingMode::ImplementationDefault => return Ok(None),
        TracingMode::Disabled => return Ok(Some(Tracing { endpoint: None, per_mille: None })),
        TracingMode::Enabled => {}
    }
    let field = SPEC.key("tracing");
    let field = field.key("provider");
    let field = field.key("backendRef");
    let Some(provider) = &raw.provider else { return Ok(None) };
    let from =
        End { group: gateway_api::EXPERIMENTAL_GROUP, kind: "XTelemetryPolicy", namespace: &name.namespace };
    let resolved = backend::resolve(world, from, &provider.backend_ref, false, &field)?;
    match resolved.refused {
        Some(Refusal::Here(problem)) => return Err(problem),
        Some(Refusal::Elsewhere(message)) => {
            return Err(Problem::at(Reason::BackendNotFound, &field, message));
        }
        None => {}
    }
    let backend = backend::build(world, &resolved.target);
    let Some((endpoint, backend)) =
        backend.and_then(|backend| Some((backend.endpoints.first()?.clone(), backend)))
    else {
        return Err(Problem::at(Reason::BackendNotFound, &field, "has no ready endpoint"));
    };
    if backend.protocol != BackendProtocol::Http1 {
        let message = "speaks HTTP/2 only; spans go by OTLP over HTTP/1.1, on port 4318 by custom";
        return Err(Problem::at(Reason::UnsupportedProtocol, &field, message));
    }
    let scheme = if backend.tls.is_some() { "https" } else { "http" };
    let host = if endpoint.host.contains(':') { format!("[{}]", endpoint.host) } else { endpoint.host };
    Ok(Some(Tracing {
        endpoint: Some(format!("{scheme}://{host}:{}", endpoint.port)),
        per_mille: raw.sampling_rate.as_ref().map(per_mille),
    }))
}

fn per_mille(rate: &Fraction) -> u16 {
    let denominator = i64::from(rate.denominator.unwrap_or(100)).max(1);
    (i64::from(rate.numerator) * 1000 / denominator).clamp(0, 1000) as u16
}
