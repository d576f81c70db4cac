//! Everything that compiling one object may look at, prepared once per compilation.

use std::collections::BTreeMap;

use crds::k8s_openapi::api::discovery::v1::EndpointSlice;
use xxhash_rust::xxh3::Xxh3;

use crate::backend::tls::BackendTlsPolicies;
use crate::options::Options;
use crate::reference::Grants;
use crate::resources::{ObjectName, Resources};

/// Label that names the Service of an EndpointSlice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The resources and what is derived from all of them together.
pub(crate) struct World<'a> {
    pub(crate) resources: &'a Resources,
    pub(crate) options: &'a Options,
    pub(crate) grants: Grants<'a>,
    pub(crate) backend_tls: BackendTlsPolicies,
    // By namespace and Service.
    slices: BTreeMap<&'a str, BTreeMap<&'a str, Vec<&'a EndpointSlice>>>,
}

impl<'a> World<'a> {
    /// Indexes the resources.
    pub(crate) fn new(resources: &'a Resources, options: &'a Options) -> Self {
        let mut slices: BTreeMap<&str, BTreeMap<&str, Vec<&EndpointSlice>>> = BTreeMap::new();
        for slice in resources.endpoint_slices.values() {
            let labels = slice.metadata.labels.as_ref();
            if let (Some(namespace), Some(service)) =
                (slice.metadata.namespace.as_deref(), labels.and_then(|labels| labels.get(SERVICE_NAME)))
            {
                slices.entry(namespace).or_default().entry(service.as_str()).or_default().push(slice);
            }
        }
        let backend_tls = BackendTlsPolicies::new(resources);
        Self { resources, options, grants: Grants::new(resources), backend_tls, slices }
    }

    /// Names the content of all objects of some kinds.
    pub(crate) fn digest(&self, of: impl Fn(&str) -> bool) -> u128 {
        let mut hash = Xxh3::new();
        for (name, revision) in self.resources.revisions(of) {
            for part in [&name.namespace, &name.name] {
                hash.update(part.as_bytes());
                hash.update(&[0xff]);
            }
            hash.update(&revision.to_le_bytes());
        }
        hash.digest128()
    }

    /// EndpointSlices of a Service.
    pub(crate) fn slices_of(&self, namespace: &str, service: &str) -> &[&'a EndpointSlice] {
        self.slices.get(namespace).and_then(|of| of.get(service)).map_or(&[], Vec::as_slice)
    }

    /// A label of a namespace. Every namespace has its name as a label, as in a cluster.
    pub(crate) fn namespace_label<'s>(&'s self, namespace: &'s str, label: &str) -> Option<&'s str> {
        if label == "kubernetes.io/metadata.name" {
            return Some(namespace);
        }
        let object = self.resources.namespaces.get(&ObjectName::new("", namespace))?;
        object.metadata.labels.as_ref()?.get(label).map(String::as_str)
    }
}
