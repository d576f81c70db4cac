//! Who comes first when two objects want the same: the older, then the one whose `namespace/name` sorts first.
//!
//! Gateway API resolves every conflict between objects in this way.

use crds::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::resources::ObjectName;

/// Sorts objects by age, then name. Objects without a creation time (files on one machine) are equally old.
pub(crate) fn age(meta: &ObjectMeta) -> (i64, &str, &str) {
    (created(meta), meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// Creation of an object, seconds since 1970; 0 when it is not known.
pub(crate) fn created(meta: &ObjectMeta) -> i64 {
    meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}

/// Namespace and name.
pub(crate) fn name(meta: &ObjectMeta) -> ObjectName {
    let (_, namespace, name) = age(meta);
    ObjectName::new(namespace, name)
}

/// `namespace/name`.
pub(crate) fn key(meta: &ObjectMeta) -> String {
    name(meta).to_string()
}
