//! TLS towards backends: BackendTLSPolicy, and the same words in XBackend.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crds::conditions::Reason;
use gateway_snapshot::BackendTls;

use crate::ca_bundle;
use crate::check::{self, shown};
use crate::field::{Field, SPEC};
use crate::order;
use crate::problem::{InField, Problem};
use crate::resources::{ObjectName, Resources};
use crate::status::Condition;
use crds::gateway_api::{
    BackendTlsPolicy, BackendTlsValidation, LocalPolicyTargetReferenceWithSectionName, SubjectAltNameType,
};

/// A Service, and one of its ports by name or all of them.
type PortOfService = (String, String, Option<String>);

/// TLS for a Service port, or why requests to it must fail.
pub(crate) type PortTls = Result<BackendTls, String>;

/// All BackendTLSPolicies, compiled.
#[derive(Debug, Default)]
pub(crate) struct BackendTlsPolicies {
    by_target: BTreeMap<PortOfService, PortTls>,
    /// Conditions by `namespace/name` of the policy.
    pub(crate) outcomes: BTreeMap<String, Vec<Condition>>,
}

impl BackendTlsPolicies {
    /// Reads every policy once, the oldest first.
    pub(crate) fn new(resources: &Resources) -> Self {
        let mut sorted: Vec<_> = resources.backend_tls_policies.values().collect();
        sorted.sort_by_key(|policy| order::age(&policy.metadata));
        let mut all = Self::default();
        for policy in sorted {
            all.add(resources, policy);
        }
        all
    }

    /// The policy in force for a port: one for this very port goes before one for the whole Service.
    pub(crate) fn of(&self, namespace: &str, service: &str, port: Option<&str>) -> Option<&PortTls> {
        let key = |port: Option<&str>| (namespace.to_owned(), service.to_owned(), port.map(str::to_owned));
        let precise = port.and_then(|port| self.by_target.get(&key(Some(port))));
        precise.or_else(|| self.by_target.get(&key(None)))
    }

    fn add(&mut self, resources: &Resources, policy: &BackendTlsPolicy) {
        let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
        let field = SPEC.key("validation");
        let (tls, mut refused, unresolved) =
            match validation(resources, namespace, &policy.spec.validation, &field) {
                Ok(Checked { tls: Some(tls), unresolved }) => (Ok(tls), None, unresolved),
                Ok(Checked { tls: None, unresolved }) => {
                    let message = "no CA certificate can be used; see ResolvedRefs";
                    let field = field.key("caCertificateRefs");
                    let problem = Problem::at(Reason::NoValidCACertificate, &field, message);
                    (Err(problem.message.clone()), Some(problem), unresolved)
                }
                Err(problem) => (Err(problem.message.clone()), Some(problem.into_invalid()), vec![]),
            };
        let name = order::key(&policy.metadata);
        let tls = tls.map_err(|message| format!("BackendTLSPolicy {name} is not valid: {message}"));
        let list = SPEC.key("targetRefs");
        for (index, target) in policy.spec.target_refs.iter().enumerate() {
            if let Err((reason, what)) = self.claim(resources, namespace, target, &tls) {
                refused.get_or_insert(Problem::at(reason, &list.index(index), what));
            }
        }
        let conditions =
            vec![Condition::accepted_unless(refused.as_ref()), Condition::resolved_refs(&unresolved)];
        self.outcomes.insert(name, conditions);
    }

    fn claim(
        &mut self,
        resources: &Resources,
        namespace: &str,
        target: &LocalPolicyTargetReferenceWithSectionName,
        tls: &PortTls,
    ) -> Result<(), (Reason, String)> {
        if (target.group.as_str(), target.kind.as_str()) != ("", "Service") {
            return Err((
                Reason::Invalid,
                format!("kind {} cannot be a target; name a Service", target.kind),
            ));
        }
        let name = ObjectName::new(namespace, &target.name);
        let service = resources.services.get(&name).ok_or_else(|| {
            (Reason::TargetNotFound, format!("Service {name} does not exist; create it or correct the name"))
        })?;
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        let has = |section: &String| ports.clone().any(|port| port.name.as_ref() == Some(section));
        if let Some(section) = target.section_name.as_ref().filter(|section| !has(section)) {
            return Err((Reason::TargetNotFound, format!("Service {name} has no port named {section}")));
        }
        match self.by_target.entry((namespace.to_owned(), target.name.clone(), target.section_name.clone())) {
            Entry::Vacant(entry) => {
                entry.insert(tls.clone());
                Ok(())
            }
            Entry::Occupied(_) => Err((
                Reason::Conflicted,
                format!("an older BackendTLSPolicy is in force for Service {name}; delete one of the two"),
            )),
        }
    }
}

/// A validation block whose values are good; its references may not be.
#[derive(Debug)]
pub(crate) struct Checked {
    /// `None` when no CA certificate is left.
    pub(crate) tls: Option<BackendTls>,
    /// References that lead nowhere.
    pub(crate) unresolved: Vec<Problem>,
}

/// Checks the words that BackendTLSPolicy and XBackend share.
pub(crate) fn validation(
    resources: &Resources,
    namespace: &str,
    raw: &BackendTlsValidation,
    field: &Field<'_>,
) -> Result<Checked, Problem> {
    let server_name = check::precise_hostname(&raw.hostname).at(&field.key("hostname"))?;
    let subject_alt_names = subject_alt_names(raw, &field.key("subjectAltNames"))?;
    let tls = |ca| Some(BackendTls { server_name, ca, subject_alt_names });
    let refs = field.key("caCertificateRefs");
    match raw.well_known_ca_certificates.as_deref() {
        Some("System") if raw.ca_certificate_refs.is_empty() => {
            return Ok(Checked { tls: tls(String::new()), unresolved: vec![] });
        }
        Some("System") => {
            return Err(Problem::value(&refs, "stands beside wellKnownCACertificates; take one of them out"));
        }
        Some(other) => {
            let message = format!("{} is not known; use System", shown(other));
            return Err(Problem::value(&field.key("wellKnownCACertificates"), message));
        }
        None if raw.ca_certificate_refs.is_empty() => {
            return Err(Problem::value(
                &refs,
                "is empty; name a ConfigMap, or set wellKnownCACertificates: System",
            ));
        }
        None => {}
    }
    let bundles = raw.ca_certificate_refs.iter().enumerate().map(|(index, reference)| {
        let name = ObjectName::new(namespace, &reference.name);
        ca_bundle::read(resources, (&reference.group, &reference.kind), &name, &refs.index(index))
    });
    let (bundle, unresolved) = ca_bundle::join(bundles);
    Ok(Checked { tls: if bundle.is_empty() { None } else { tls(bundle) }, unresolved })
}

fn subject_alt_names(raw: &BackendTlsValidation, field: &Field<'_>) -> Result<Vec<String>, Problem> {
    raw.subject_alt_names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let field = field.index(index);
            match (name.r#type, &name.hostname, &name.uri) {
                (SubjectAltNameType::Hostname, Some(host), _) => {
                    check::hostname(host).at(&field.key("hostname"))
                }
                (SubjectAltNameType::Uri, _, Some(uri)) if uri.contains("://") => Ok(uri.clone()),
                (SubjectAltNameType::Hostname, None, _) => Err(Problem::value(&field, "needs hostname")),
                (SubjectAltNameType::Uri, ..) => {
                    Err(Problem::value(&field, "needs uri, such as `spiffe://example.com/orders`"))
                }
            }
        })
        .collect()
}
