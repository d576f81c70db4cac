//! References across namespaces, and the ReferenceGrants that allow them.

use std::collections::BTreeSet;

use crate::resources::Resources;

/// What refers, or what is referred to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End<'a> {
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
}

/// All grants, indexed for asking.
#[derive(Debug, Default)]
pub(crate) struct Grants<'a> {
    // (from group, from kind, from namespace, to namespace, to group, to kind, to name or "" for all)
    pairs: BTreeSet<[&'a str; 7]>,
}

impl<'a> Grants<'a> {
    /// Reads every ReferenceGrant once.
    pub(crate) fn new(resources: &'a Resources) -> Self {
        let mut pairs = BTreeSet::new();
        for grant in resources.reference_grants.values() {
            let namespace = grant.metadata.namespace.as_deref().unwrap_or_default();
            for from in &grant.spec.from {
                for to in &grant.spec.to {
                    let name = to.name.as_deref().unwrap_or_default();
                    pairs.insert([
                        &from.group,
                        &from.kind,
                        &from.namespace,
                        namespace,
                        &to.group,
                        &to.kind,
                        name,
                    ]);
                }
            }
        }
        Self { pairs }
    }

    /// Whether `from` may refer to `name` at `to`, or what to write when it may not. Within a namespace it always may.
    pub(crate) fn check(&self, from: End<'_>, to: End<'_>, name: &str) -> Result<(), String> {
        if self.permit(from, to, name) {
            return Ok(());
        }
        Err(format!(
            "{} {}/{name} may not be used; add a ReferenceGrant in namespace {} from {} in namespace {} to {}",
            to.kind, to.namespace, to.namespace, from.kind, from.namespace, to.kind
        ))
    }

    fn permit(&self, from: End<'_>, to: End<'_>, name: &str) -> bool {
        let asked = |name| {
            self.pairs.contains(&[
                from.group,
                from.kind,
                from.namespace,
                to.namespace,
                to.group,
                to.kind,
                name,
            ])
        };
        from.namespace == to.namespace || asked(name) || asked("")
    }
}
