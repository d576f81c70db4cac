//! ApiProducts: stage of life, and plans on offer. Their routes are attached like a policy's.

use std::collections::{BTreeMap, BTreeSet};

use crds::api_product::{ApiProductSpec, Stage as RawStage};
use crds::conditions::Reason;
use gateway_snapshot::{Key, Product, Stage};

use super::seconds;
use crate::field::SPEC;
use crate::order;
use crate::problem::Problem;
use crate::reference::End;
use crate::resources::ObjectName;
use crate::world::World;

/// A product with what is wrong with it.
#[derive(Debug)]
pub(crate) struct CompiledProduct {
    pub(crate) product: Product,
    /// Plans on offer; `None` when any plan is.
    pub(crate) offer: Option<BTreeSet<Key>>,
    /// A broken product still guards its routes.
    pub(crate) refused: Option<Problem>,
    pub(crate) unresolved: Vec<Problem>,
}

/// Every product by `namespace/name`.
pub(crate) fn products(world: &World<'_>) -> BTreeMap<Key, CompiledProduct> {
    let products = world.resources.api_products.values();
    products.map(|product| (order::key(&product.metadata), one(world, product))).collect()
}

fn one(world: &World<'_>, raw: &crds::ApiProduct) -> CompiledProduct {
    let namespace = raw.metadata.namespace.as_deref().unwrap_or_default();
    let spec = &raw.spec;
    let (mut offer, mut unresolved) = (BTreeSet::new(), Vec::new());
    let list = SPEC.key("plans");
    for (index, reference) in spec.plans.iter().enumerate() {
        match find(world, ("ApiProduct", namespace), "Plan", reference) {
            Ok(name) => {
                offer.insert(name.to_string());
            }
            Err((reason, what)) => unresolved.push(Problem::at(reason, &list.index(index), what)),
        }
    }
    let in_stage = |time| if spec.stage == RawStage::Deprecated { seconds(time) } else { None };
    CompiledProduct {
        product: Product {
            stage: stage(spec.stage),
            deprecated_at: in_stage(spec.deprecated_at.as_ref()),
            sunset_at: in_stage(spec.sunset_at.as_ref()),
            subscription_required: spec.subscription_required,
        },
        // A product whose plans are all gone offers none, not any.
        offer: (!spec.plans.is_empty()).then_some(offer),
        refused: dates(spec),
        unresolved,
    }
}

const fn stage(raw: RawStage) -> Stage {
    match raw {
        RawStage::Draft => Stage::Draft,
        RawStage::Published => Stage::Published,
        RawStage::Deprecated => Stage::Deprecated,
        RawStage::Retired => Stage::Retired,
    }
}

fn dates(spec: &ApiProductSpec) -> Option<Problem> {
    let (since, until) = (seconds(spec.deprecated_at.as_ref())?, seconds(spec.sunset_at.as_ref())?);
    (until < since)
        .then(|| Problem::invalid(&SPEC.key("sunsetAt"), "is before deprecatedAt; correct one of the two"))
}

/// One of our objects that another refers to.
pub(super) fn find(
    world: &World<'_>,
    from: (&str, &str),
    kind: &str,
    reference: &crds::ObjectReference,
) -> Result<ObjectName, (Reason, String)> {
    let from = End { group: crds::GROUP, kind: from.0, namespace: from.1 };
    let to =
        End { group: crds::GROUP, kind, namespace: reference.namespace.as_deref().unwrap_or(from.namespace) };
    let name = ObjectName::new(to.namespace, &reference.name);
    world.grants.check(from, to, &reference.name).map_err(|message| (Reason::RefNotPermitted, message))?;
    let exists = match kind {
        "Consumer" => world.resources.consumers.contains_key(&name),
        "ApiProduct" => world.resources.api_products.contains_key(&name),
        _ => world.resources.plans.contains_key(&name),
    };
    if exists {
        Ok(name)
    } else {
        Err((Reason::TargetNotFound, format!("{kind} {name} does not exist; create it or correct the name")))
    }
}
