//! GatewayClasses and the GatewayFleets that they refer to.

use std::collections::BTreeMap;

use crds::GatewayFleet;
use crds::conditions::Reason;
use crds::gateway_api::ParametersReference;

use crate::field::{Field, SPEC};
use crate::fleet;
use crate::problem::Problem;
use crate::resources::{Object, ObjectName};
use crate::world::World;

/// Our classes by name, with what is wrong with them.
pub(crate) type Classes = BTreeMap<String, Result<Option<ObjectName>, Problem>>;

/// Every GatewayClass that names our controller: the fleet that it refers to, if any.
pub(crate) fn classes(world: &World<'_>) -> Classes {
    world
        .resources
        .gateway_classes
        .iter()
        .filter(|(_, class)| class.spec.controller_name == world.options.controller_name)
        .map(|(name, class)| {
            let field = SPEC.key("parametersRef");
            let reference = class.spec.parameters_ref.as_ref();
            (name.name.clone(), reference.map(|reference| parameters(world, reference, &field)).transpose())
        })
        .collect()
}

/// The fleet that `reference` names, if it exists and is valid.
pub(super) fn parameters(
    world: &World<'_>,
    reference: &ParametersReference,
    field: &Field<'_>,
) -> Result<ObjectName, Problem> {
    let wrong = |message: String| Problem::at(Reason::InvalidParameters, field, message);
    if (reference.group.as_str(), reference.kind.as_str()) != (crds::GROUP, "GatewayFleet") {
        return Err(wrong(format!(
            "kind {} cannot hold parameters; use a GatewayFleet of {}",
            reference.kind,
            crds::GROUP
        )));
    }
    let namespace = reference.namespace.as_deref().ok_or_else(|| wrong("needs a namespace".to_owned()))?;
    let name = ObjectName::new(namespace, &reference.name);
    let found: Option<&Object<GatewayFleet>> = world.resources.gateway_fleets.get(&name);
    let fleet = found
        .ok_or_else(|| wrong(format!("GatewayFleet {name} does not exist; create it or correct the name")))?;
    match fleet::settings(&fleet.spec) {
        Ok(_) => Ok(name),
        Err(problem) => Err(wrong(format!("GatewayFleet {name} is not valid: {}", problem.message))),
    }
}
