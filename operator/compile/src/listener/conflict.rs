//! Listeners that claim the same: one port with two protocols, or one port and hostname twice.
//!
//! Within one Gateway no claimant gets it, because there is no order among them. Between objects (a Gateway and
//! its ListenerSets, or Gateways that share a process) the one that comes first keeps it.

use crds::conditions::Reason;

use super::CompiledListener;
use crate::problem::Problem;

/// Notes conflicts. `units`: the listeners of one Gateway or ListenerSet each, in order of precedence. `share`
/// says whether two listeners of different units are on the same machine.
pub(super) fn find(
    units: &mut [Vec<CompiledListener>],
    share: impl Fn(&CompiledListener, &CompiledListener) -> bool,
) {
    for index in 0..units.len() {
        let (before, rest) = units.split_at_mut(index);
        let Some(unit) = rest.first_mut() else { return };
        let found: Vec<Option<Problem>> = unit
            .iter()
            .enumerate()
            .map(|(own, listener)| {
                let siblings =
                    unit.iter().enumerate().filter(|(other, _)| *other != own).map(|(_, other)| other);
                let earlier = before
                    .iter()
                    .flatten()
                    .filter(|other| other.conflict.is_none() && share(listener, other));
                siblings.chain(earlier).find_map(|other| clash(listener, other))
            })
            .collect();
        for (listener, conflict) in unit.iter_mut().zip(found) {
            listener.conflict = conflict;
        }
    }
}

fn clash(listener: &CompiledListener, other: &CompiledListener) -> Option<Problem> {
    // A protocol that is not supported still conflicts with one that is served there, but keeps nobody from it.
    let claims = listener.refused.is_none() || listener.protocol.is_none();
    let same_port = listener.port == other.port && claims && other.refused.is_none();
    if !same_port {
        return None;
    }
    let key = other.key();
    if listener.protocol != other.protocol {
        let message = format!(
            "listener {key} speaks another protocol on port {}; use one protocol for each port",
            listener.port
        );
        return Some(Problem { reason: Reason::ProtocolConflict, message });
    }
    if listener.callers != other.callers {
        let message = format!(
            "listener {key} asks callers for other certificates on port {}; use another port, or the same \
             spec.tls.frontend",
            listener.port
        );
        return Some(Problem { reason: Reason::ProtocolConflict, message });
    }
    if listener.hostname == other.hostname {
        let host = listener.hostname.as_deref().unwrap_or("every host");
        let message = format!(
            "listener {key} serves {host} on port {} already; use another hostname or port",
            listener.port
        );
        return Some(Problem { reason: Reason::HostnameConflict, message });
    }
    None
}
