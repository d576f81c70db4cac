//! Addresses that a Gateway asks for.
//!
//! A type that nobody here can give is `UnsupportedAddress`, and the Gateway is not accepted. An address of a known
//! type that cannot be had is told in `Programmed` (`AddressNotUsable`, `AddressNotAssigned`): the Gateway is served
//! at the addresses that there are.

use crds::conditions::Reason;
use crds::gateway_api::{Gateway, GatewaySpecAddress};

use crate::check::shown;
use crate::field::{Field, SPEC};
use crate::problem::Problem;
use crate::world::World;

/// The first address that cannot be had, or why the Gateway cannot be accepted.
pub(super) fn check(world: &World<'_>, gateway: &Gateway) -> Result<Option<Problem>, Problem> {
    let list = SPEC.key("addresses");
    let mut missing = None;
    for (index, address) in gateway.spec.addresses.iter().enumerate() {
        let field = list.index(index);
        let kind = address.r#type.as_deref().unwrap_or("IPAddress");
        if !matches!(kind, "IPAddress" | "Hostname") {
            let message = format!("{} is not supported; use IPAddress", shown(kind));
            return Err(Problem::at(Reason::UnsupportedAddress, &field.key("type"), message));
        }
        missing = missing.or_else(|| unreachable(world, kind, address, &field));
    }
    Ok(missing)
}

fn unreachable(
    world: &World<'_>,
    kind: &str,
    address: &GatewaySpecAddress,
    field: &Field<'_>,
) -> Option<Problem> {
    if address.routability.as_deref().is_some_and(|scope| !scope.is_empty()) {
        let message = "is not supported: the address may be reached from elsewhere, too; take it out";
        return Some(Problem::at(Reason::AddressNotUsable, &field.key("routability"), message));
    }
    // In a cluster the shell asks for the address when it makes the Service.
    if !world.options.shared_ports() {
        return None;
    }
    match (kind, address.value.as_deref().filter(|value| !value.is_empty())) {
        // Any address will do, and the process has one.
        ("IPAddress", None) => None,
        (_, None) => {
            let message = "a host name cannot be had on one machine; take the address out";
            Some(Problem::at(Reason::AddressNotAssigned, field, message))
        }
        (_, Some(value)) => {
            let message = format!(
                "{} is not bound: on one machine the listeners are at the addresses that the process is started with; take it out",
                shown(value)
            );
            Some(Problem::at(Reason::AddressNotUsable, &field.key("value"), message))
        }
    }
}
