//! Who may attach: kinds and namespaces of routes, and of ListenerSets.

use crds::gateway_api::{
    FromListenerNamespaces, FromNamespaces, LabelSelector, ListenerNamespaces, RouteNamespaces,
};

use crate::world::World;

/// Namespaces whose objects may attach.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AllowedNamespaces {
    /// Every one.
    All,
    /// That of the object itself.
    Same,
    /// Those whose labels match.
    Selector(LabelSelector),
    /// None.
    None,
}

impl AllowedNamespaces {
    /// `allowedRoutes.namespaces` of a listener; the default is its own.
    pub(crate) fn of_routes(raw: Option<&RouteNamespaces>) -> Self {
        let Some(raw) = raw else { return Self::Same };
        match raw.from.unwrap_or(FromNamespaces::Same) {
            FromNamespaces::All => Self::All,
            FromNamespaces::Same => Self::Same,
            FromNamespaces::Selector => raw.selector.clone().map_or(Self::None, Self::Selector),
        }
    }

    /// `allowedListeners.namespaces` of a Gateway; the default is none.
    pub(crate) fn of_listener_sets(raw: Option<&ListenerNamespaces>) -> Self {
        let Some(raw) = raw else { return Self::None };
        match raw.from.unwrap_or(FromListenerNamespaces::None) {
            FromListenerNamespaces::All => Self::All,
            FromListenerNamespaces::Same => Self::Same,
            FromListenerNamespaces::Selector => raw.selector.clone().map_or(Self::None, Self::Selector),
            FromListenerNamespaces::None => Self::None,
        }
    }
}

/// Whether an object in `namespace` may attach to one in `own`.
pub(crate) fn admits(world: &World<'_>, allowed: &AllowedNamespaces, own: &str, namespace: &str) -> bool {
    match allowed {
        AllowedNamespaces::All => true,
        AllowedNamespaces::Same => own == namespace,
        AllowedNamespaces::None => false,
        AllowedNamespaces::Selector(selector) => {
            let label = |key: &str| world.namespace_label(namespace, key);
            selector.match_labels.iter().all(|(key, value)| label(key) == Some(value.as_str()))
                && selector.match_expressions.iter().all(|wanted| {
                    let value = label(&wanted.key);
                    let listed =
                        value.is_some_and(|value| wanted.values.iter().any(|listed| listed == value));
                    match wanted.operator.as_str() {
                        "In" => listed,
                        "NotIn" => !listed,
                        "Exists" => value.is_some(),
                        "DoesNotExist" => value.is_none(),
                        // Not an operator of the specification: nothing matches it.
                        _ => false,
                    }
                })
        }
    }
}
