//! Small snapshots, built by hand.

use std::net::SocketAddr;

use gateway_snapshot::{
    Attachment, Backend, BackendChoice, BackendProtocol, BackendRef, Certificate, Endpoint, FORMAT, Filter,
    Listener, ListenerProtocol, ListenerTls, Match, PathMatch, Route, RouteKind, Rule, Snapshot,
};

pub(crate) const PLAIN: &str = "shop/web/plain";
/// All tests here are built twice, and run over each engine (`tests/it-off`).
pub(crate) const FAST_PATH: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"it");
pub(crate) const SECURE: &str = "shop/web/secure";

/// A snapshot under construction.
#[derive(Clone)]
pub(crate) struct Build(pub(crate) Snapshot);

impl Build {
    /// A plain listener on a free port, no routes.
    pub(crate) fn new() -> Self {
        let mut snapshot = Snapshot { format: FORMAT, version: "1".into(), ..Snapshot::default() };
        snapshot.listeners.insert(PLAIN.into(), listener("plain", None));
        snapshot.settings.connect_timeout_ms = 500;
        snapshot.settings.fast_path = FAST_PATH;
        Self(snapshot)
    }

    pub(crate) fn version(mut self, version: &str) -> Self {
        self.0.version = version.into();
        self
    }

    /// A TLS listener on a free port with these certificates.
    pub(crate) fn secure(mut self, certificates: &[(&str, Certificate)]) -> Self {
        let keys = certificates.iter().map(|(key, _)| (*key).to_owned()).collect();
        self.0.listeners.insert(
            SECURE.into(),
            listener("secure", Some(ListenerTls { certificates: keys, callers: None })),
        );
        for (key, certificate) in certificates {
            self.0.certificates.insert((*key).into(), certificate.clone());
        }
        self
    }

    pub(crate) fn backend(mut self, key: &str, protocol: BackendProtocol, addresses: &[SocketAddr]) -> Self {
        let endpoints =
            addresses.iter().map(|a| Endpoint { host: a.ip().to_string(), port: a.port() }).collect();
        self.0.backends.insert(key.into(), Backend { endpoints, protocol, tls: None });
        self
    }

    /// A route for a path prefix to a backend, on all listeners present.
    pub(crate) fn route(self, prefix: &str, backend: &str) -> Self {
        self.rule(prefix, |rule| rule.backends = vec![to(backend)])
    }

    /// The same with everything else of the rule open.
    pub(crate) fn rule(mut self, prefix: &str, change: impl FnOnce(&mut Rule)) -> Self {
        let path = PathMatch::Prefix(prefix.into());
        let mut rule = Rule {
            matches: vec![Match { path, headers: vec![], query: vec![], method: None }],
            ..Rule::default()
        };
        change(&mut rule);
        let attach = |key: &String| Attachment { listener: key.clone(), hostnames: vec![] };
        let name = format!("shop/r{}", self.0.routes.len());
        let route = Route {
            kind: RouteKind::Http,
            name: name.clone(),
            created: 0,
            attachments: self.0.listeners.keys().map(attach).collect(),
            rules: vec![rule],
        };
        self.0.routes.insert(format!("httproute/{name}"), route);
        self
    }

    pub(crate) fn settings(mut self, change: impl FnOnce(&mut gateway_snapshot::Settings)) -> Self {
        change(&mut self.0.settings);
        self
    }
}

pub(crate) fn to(backend: &str) -> BackendChoice {
    BackendChoice { backend: BackendRef::To(backend.into()), weight: 1, filters: Vec::<Filter>::new() }
}

fn listener(name: &str, tls: Option<ListenerTls>) -> Listener {
    let protocol = if tls.is_some() { ListenerProtocol::Https } else { ListenerProtocol::Http };
    Listener {
        gateway: "shop/web".into(),
        name: name.into(),
        port: 0,
        protocol,
        hostname: None,
        tls,
        client_certificate: None,
    }
}

/// The same with a URI among its names.
pub(crate) fn certificate_with_uri(names: &[&str], uri: &str) -> Certificate {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(names.clone()).unwrap();
    params.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().unwrap()));
    let made = params.self_signed(&key).unwrap();
    let (chain, key) = (made.pem(), key.serialize_pem());
    Certificate { chain, key, names, serial: "01".into(), not_before: 0, not_after: i64::MAX }
}

/// A self-signed certificate for `names`, with its PEM for clients' roots.
pub(crate) fn certificate(names: &[&str]) -> Certificate {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let made = rcgen::generate_simple_self_signed(names.clone()).unwrap();
    Certificate {
        chain: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
        names,
        serial: "01".into(),
        not_before: 0,
        not_after: i64::MAX,
    }
}
