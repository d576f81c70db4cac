//! Which policy is in force for which target.

use std::collections::BTreeMap;

use crds::PolicyTarget;
use crds::conditions::Reason;
use crds::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use gateway_snapshot::Key;

use super::target::find;
use super::{Contents, PolicyKind, Scope, Target};
use crate::order;
use crate::problem::Problem;
use crate::resources::Resources;
use crate::status::ParentRef;

/// All attachments.
#[derive(Debug, Default)]
pub(crate) struct PolicyIndex {
    in_force: BTreeMap<(PolicyKind, Target), Key>,
    /// For each policy, one outcome for each of its `targetRefs`.
    pub(crate) outcomes: BTreeMap<(PolicyKind, Key), Vec<TargetOutcome>>,
}

/// What became of one `targetRef`.
#[derive(Debug)]
pub(crate) struct TargetOutcome {
    pub(crate) parent: ParentRef,
    /// Why the policy is not in force there.
    pub(crate) problem: Option<Problem>,
}

struct Candidate<'a> {
    kind: PolicyKind,
    meta: &'a ObjectMeta,
    targets: &'a [PolicyTarget],
    /// In force nowhere because of its own content.
    out: Option<Problem>,
}

impl PolicyIndex {
    /// Attaches every policy, the oldest first.
    pub(crate) fn new(resources: &Resources, contents: &Contents) -> Self {
        let mut candidates = candidates(resources, contents);
        candidates.sort_by_key(|candidate| order::age(candidate.meta));
        let mut index = Self::default();
        for candidate in candidates {
            index.add(resources, &candidate);
        }
        index
    }

    /// Policies of `kind` that cover a rule, the one in force first; the others are overridden.
    pub(crate) fn chain<'a>(&'a self, kind: PolicyKind, scope: &Scope<'_>) -> impl Iterator<Item = &'a Key> {
        scope.targets().filter_map(move |target| self.in_force.get(&(kind, target)))
    }

    fn add(&mut self, resources: &Resources, candidate: &Candidate<'_>) {
        let namespace = candidate.meta.namespace.as_deref().unwrap_or_default();
        let key = order::key(candidate.meta);
        let mut outcomes = Vec::with_capacity(candidate.targets.len());
        for raw in candidate.targets {
            let problem = match find(resources, namespace, raw) {
                Err(problem) => Some(problem),
                Ok(_) if candidate.out.is_some() => candidate.out.clone(),
                Ok(target) => self.claim(candidate.kind, target, &key),
            };
            outcomes.push(TargetOutcome { parent: parent(raw), problem });
        }
        self.outcomes.insert((candidate.kind, key), outcomes);
    }

    fn claim(&mut self, kind: PolicyKind, target: Target, key: &Key) -> Option<Problem> {
        match self.in_force.get(&(kind, target.clone())) {
            None => {
                self.in_force.insert((kind, target), key.clone());
                None
            }
            Some(owner) if owner == key => None,
            Some(owner) => {
                let message = format!(
                    "{} {owner} came first and is in force here; delete one of the two, or name a part of the target in sectionName",
                    kind.name()
                );
                Some(Problem { reason: Reason::Conflicted, message })
            }
        }
    }
}

fn parent(raw: &PolicyTarget) -> ParentRef {
    ParentRef {
        group: Some(raw.group.clone()),
        kind: Some(raw.kind.clone()),
        namespace: None,
        name: raw.name.clone(),
        section_name: raw.section_name.clone(),
        port: None,
    }
}

fn candidates<'a>(resources: &'a Resources, contents: &Contents) -> Vec<Candidate<'a>> {
    let mut all = Vec::new();
    // A broken AuthPolicy or ApiProduct stays in force in its strictest form: it must not open what it guards.
    for policy in resources.auth_policies.values() {
        let targets = &policy.spec.target_refs;
        all.push(Candidate { kind: PolicyKind::Auth, meta: &policy.metadata, targets, out: None });
    }
    for product in resources.api_products.values() {
        let targets = &product.spec.target_refs;
        all.push(Candidate { kind: PolicyKind::Product, meta: &product.metadata, targets, out: None });
    }
    for policy in resources.rate_limit_policies.values() {
        let out = contents
            .rate_limits
            .get(&order::key(&policy.metadata))
            .and_then(|content| content.as_ref().err());
        let targets = &policy.spec.target_refs;
        all.push(Candidate {
            kind: PolicyKind::RateLimit,
            meta: &policy.metadata,
            targets,
            out: out.cloned(),
        });
    }
    for policy in resources.quota_policies.values() {
        let out =
            contents.quotas.get(&order::key(&policy.metadata)).and_then(|content| content.as_ref().err());
        let targets = &policy.spec.target_refs;
        all.push(Candidate { kind: PolicyKind::Quota, meta: &policy.metadata, targets, out: out.cloned() });
    }
    all
}
