//! Certificates of listeners, each Secret read once.

use std::collections::BTreeMap;

use crds::conditions::Reason;
use crds::gateway_api::{self, NamespacedReference};
use crds::k8s_openapi::api::core::v1::Secret;
use gateway_snapshot::{Certificate, Key};

use crate::certificate;
use crate::field::Field;
use crate::problem::Problem;
use crate::reference::End;
use crate::resources::ObjectName;
use crate::world::World;

/// Certificates that were asked for so far, good or not.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    read: BTreeMap<ObjectName, Read>,
    /// Those of the compilation before: what has not changed need not be checked again.
    before: BTreeMap<ObjectName, Read>,
}

#[derive(Debug)]
struct Read {
    /// Of the Secret.
    revision: u64,
    found: Result<Certificate, String>,
}

impl Certificates {
    /// For the next compilation.
    pub(crate) fn again(self) -> Self {
        Self { read: BTreeMap::new(), before: self.read }
    }

    /// The key of the certificate that a listener (in a Gateway or ListenerSet, `kind`) refers to.
    pub(crate) fn resolve(
        &mut self,
        world: &World<'_>,
        from: (&'static str, &str),
        reference: &NamespacedReference,
        field: &Field<'_>,
    ) -> Result<Key, Problem> {
        let (group, kind) =
            (reference.group.as_deref().unwrap_or_default(), reference.kind.as_deref().unwrap_or("Secret"));
        if (group, kind) != ("", "Secret") {
            let message = format!("kind {kind} of group {group:?} cannot hold a certificate; use a Secret");
            return Err(Problem::at(Reason::InvalidCertificateRef, field, message));
        }
        let from = End { group: gateway_api::GROUP, kind: from.0, namespace: from.1 };
        let to = End { group, kind, namespace: reference.namespace.as_deref().unwrap_or(from.namespace) };
        let name = ObjectName::new(to.namespace, &reference.name);
        world
            .grants
            .check(from, to, &reference.name)
            .map_err(|message| Problem::at(Reason::RefNotPermitted, field, message))?;
        let problem =
            |what: &str| Problem::at(Reason::InvalidCertificateRef, field, format!("Secret {name} {what}"));
        let Some(secret) = world.resources.secrets.get(&name) else {
            return Err(problem("does not exist; create it or correct the name"));
        };
        let read = self.read.entry(name.clone()).or_insert_with(|| {
            let revision = secret.revision();
            let known = self.before.remove(&name).filter(|known| known.revision == revision);
            known.unwrap_or_else(|| Read { revision, found: read(secret) })
        });
        read.found.as_ref().map(|_| name.to_string()).map_err(|what| problem(what))
    }

    /// A certificate that [`Self::resolve`] has found.
    pub(crate) fn get(&self, key: &str) -> Option<&Certificate> {
        let (namespace, name) = key.split_once('/')?;
        self.read.get(&ObjectName::new(namespace, name))?.found.as_ref().ok()
    }
}

fn read(secret: &Secret) -> Result<Certificate, String> {
    let entry = |name: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(name));
        bytes
            .map(|bytes| bytes.0.as_slice())
            .ok_or_else(|| format!("has no entry `{name}`; use type kubernetes.io/tls"))
    };
    certificate::pair(entry("tls.crt")?, entry("tls.key")?).map_err(|error| format!("is not usable: {error}"))
}
