//! Bundles of CA certificates in ConfigMaps and Secrets, under `ca.crt`.

use crds::conditions::Reason;

use crate::certificate;
use crate::field::Field;
use crate::problem::Problem;
use crate::resources::{ObjectName, Resources};

/// Key of a bundle in a ConfigMap or Secret.
const KEY: &str = "ca.crt";

/// The PEM text of the bundle that `field` refers to. The reference is permitted.
pub(crate) fn read(
    resources: &Resources,
    (group, kind): (&str, &str),
    name: &ObjectName,
    field: &Field<'_>,
) -> Result<String, Problem> {
    let found = match (group, kind) {
        ("", "ConfigMap") => resources
            .config_maps
            .get(name)
            .map(|map| map.data.as_ref().and_then(|data| data.get(KEY)).cloned()),
        ("", "Secret") => resources.secrets.get(name).map(|secret| {
            let bytes = secret.data.as_ref().and_then(|data| data.get(KEY));
            bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok())
        }),
        (group, kind) => {
            let message =
                format!("kind {kind} of group {group:?} cannot hold a CA bundle; use a ConfigMap or Secret");
            return Err(Problem::at(Reason::InvalidKind, field, message));
        }
    };
    let wrong = |what: &str| {
        let message = format!("{kind} {name} {what}");
        Problem::at(Reason::InvalidCACertificateRef, field, message)
    };
    let pem = found
        .ok_or_else(|| wrong("does not exist; create it or correct the name"))?
        .ok_or_else(|| wrong("has no key `ca.crt`; put the PEM bundle there"))?;
    if certificate::is_bundle(&pem) {
        Ok(pem)
    } else {
        Err(wrong("holds no PEM certificates under `ca.crt`, or one that no chain can be verified with"))
    }
}

/// One bundle of all that are good, which is empty when none is; and what is wrong with the others.
pub(crate) fn join(bundles: impl Iterator<Item = Result<String, Problem>>) -> (String, Vec<Problem>) {
    let (mut whole, mut problems) = (String::new(), Vec::new());
    for bundle in bundles {
        match bundle {
            Ok(pem) => {
                whole.push_str(pem.trim_end());
                whole.push('\n');
            }
            Err(problem) => problems.push(problem),
        }
    }
    (whole, problems)
}
