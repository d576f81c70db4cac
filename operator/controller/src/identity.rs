//! Who is who inside: a CA of ours, and certificates that name operators, analytics and fleets by URI (SPIFFE).
//!
//! The CA lies in a Secret of the operator's namespace and outlives the operator. Pure but for reading and writing that
//! Secret.

use std::time::{Duration, SystemTime};

use crds::k8s_openapi::ByteString;
use crds::k8s_openapi::api::core::v1::Secret;
use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::{Map, Value, json};
use x509_parser::extensions::GeneralName;

use crate::{Error, rotation};

/// The URI of analytics.
pub(crate) const ANALYTICS: &str = "spiffe://turnpike/analytics";
/// The name by which gateways know an operator, whatever its address.
const OPERATOR_NAME: &str = "operator.turnpike";
/// Name of the Secret.
pub(crate) const SECRET: &str = "turnpike-ca";
const CA_LIFE: SignedDuration = SignedDuration::from_hours(24 * 365);
/// Life of every other certificate; a new one is issued when two thirds of it are over.
pub(crate) const LIFE: SignedDuration = SignedDuration::from_hours(24 * 90);
/// Clocks may differ.
pub(crate) const BEFORE: SignedDuration = SignedDuration::from_hours(1);

/// The URI of a fleet (`namespace/name`).
pub(crate) fn fleet_uri(fleet: &str) -> String {
    format!("spiffe://turnpike/fleet/{fleet}")
}

/// The URI in a certificate (DER): the first, if there is one.
pub(crate) fn uri_of(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    })
}

/// The common name of a certificate (DER).
pub(crate) fn common_name(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

/// The CA.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    /// All that is trusted, PEM: its own certificate, and for a while that of the CA before or after it.
    pub(crate) trusted: String,
    /// When an operator that has a certificate of it needs another.
    pub(crate) renew_at: Timestamp,
}

impl std::fmt::Debug for Ca {
    // The key must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca").finish_non_exhaustive()
    }
}

/// A certificate and its key, PEM.
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Ca {
    /// Reads the CA from its Secret, or makes both. Of two operators that start at once, one makes it.
    pub(crate) async fn open(client: &kube::Client, namespace: &str, now: Timestamp) -> Result<Self, Error> {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let what = || format!("Secret {namespace}/{SECRET}");
        let failed = |error: kube::Error| Error::Api { what: what(), error: Box::new(error) };
        for _ in 0..2 {
            if let Some(secret) = api.get_opt(SECRET).await.map_err(failed)? {
                let damaged = |problem: String| Error::Ca { secret: what(), problem };
                return Self::read(&secret, now).map_err(damaged);
            }
            let secret =
                new_secret(now).map_err(|error| Error::Ca { secret: what(), problem: error.to_string() })?;
            match api.create(&PostParams::default(), &secret).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                created => drop(created.map_err(failed)?),
            }
        }
        Err(Error::Ca { secret: what(), problem: "it comes and goes".to_owned() })
    }

    fn read(secret: &Secret, now: Timestamp) -> Result<Self, String> {
        let data = secret.data.clone().unwrap_or_default();
        let (certificate, key) = (rotation::text(&data, "tls.crt")?, rotation::text(&data, "tls.key")?);
        let key = KeyPair::from_pem(&key).map_err(|error| format!("tls.key: {error}"))?;
        let issuer =
            Issuer::from_ca_cert_pem(&certificate, key).map_err(|error| format!("tls.crt: {error}"))?;
        Ok(Self { issuer, trusted: rotation::trusted(&data)?, renew_at: now + LIFE * 2 / 3 })
    }

    /// Whether the Secret holds this CA still.
    pub(crate) fn is_in(&self, secret: &Secret) -> bool {
        secret.data.as_ref().is_some_and(|data| rotation::trusted(data).as_ref() == Ok(&self.trusted))
    }

    /// Takes the next step in the life of the CA, if it is time.
    pub(crate) async fn rotate(client: &kube::Client, secret: &Secret, now: Timestamp) -> Result<(), Error> {
        let metadata = &secret.metadata;
        let [namespace, name] =
            [&metadata.namespace, &metadata.name].map(|text| text.clone().unwrap_or_default());
        let what = format!("Secret {namespace}/{name}");
        let next = rotation::step(secret, now);
        let next = next.map_err(|problem| Error::Ca { secret: what.clone(), problem })?;
        let Some(data) = next else { return Ok(()) };
        let gone = secret.data.iter().flat_map(|data| data.keys()).filter(|key| !data.contains_key(*key));
        let mut changed: Map<String, Value> = gone.map(|key| (key.clone(), Value::Null)).collect();
        changed.extend(data.iter().map(|(key, bytes)| (key.clone(), json!(bytes))));
        // A change that we have not seen is not overwritten: the API server refuses another version.
        let version = &metadata.resource_version;
        let patch = json!({
            "metadata": {"resourceVersion": version, "annotations": {rotation::ROTATE: null}},
            "data": changed,
        });
        let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        match api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => tracing::info!(secret = what, "the CA has taken the next step of its life"),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(Error::Api { what, error: Box::new(error) }),
        }
        Ok(())
    }

    /// A certificate for the operator's own server.
    pub(crate) fn operator(&self, now: Timestamp) -> Result<Identity, rcgen::Error> {
        self.issue("spiffe://turnpike/operator", Some(OPERATOR_NAME), now)
    }

    /// A certificate for what the operator serves to the API server as `host`.
    pub(crate) fn external(&self, host: &str, now: Timestamp) -> Result<Identity, rcgen::Error> {
        self.issue("spiffe://turnpike/operator", Some(host), now)
    }

    /// A certificate for the gateways of a fleet, and when to issue the next one.
    pub(crate) fn fleet(&self, fleet: &str, now: Timestamp) -> Result<(Identity, Timestamp), rcgen::Error> {
        let identity = self.issue(&fleet_uri(fleet), None, now)?;
        Ok((identity, now + LIFE * 2 / 3))
    }

    /// A certificate for analytics, which gateways reach as `host`, and when to issue the next one.
    pub(crate) fn analytics(
        &self,
        host: &str,
        now: Timestamp,
    ) -> Result<(Identity, Timestamp), rcgen::Error> {
        let identity = self.issue(ANALYTICS, Some(host), now)?;
        Ok((identity, now + LIFE * 2 / 3))
    }

    fn issue(&self, uri: &str, name: Option<&str>, now: Timestamp) -> Result<Identity, rcgen::Error> {
        let mut params = params("Turnpike", now, LIFE);
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        if let Some(name) = name {
            params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
        }
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let chain = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity { chain, key: key.serialize_pem() })
    }
}

/// The first CA.
fn new_secret(now: Timestamp) -> Result<Secret, rcgen::Error> {
    let (certificate, key) = make_ca(now)?;
    let data = [("tls.crt", certificate), ("tls.key", key)];
    let labels = [("app.kubernetes.io/managed-by".to_owned(), "turnpike".to_owned())];
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.map(|(key, pem)| (key.to_owned(), ByteString(pem.into_bytes()))).into()),
        ..Secret::default()
    })
}

/// Certificate and key of a new CA, PEM.
pub(crate) fn make_ca(now: Timestamp) -> Result<(String, String), rcgen::Error> {
    let mut params = params("Turnpike internal CA", now, CA_LIFE);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let made = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    Ok((made.pem(), made.key().serialize_pem()))
}

fn params(name: &str, now: Timestamp, life: SignedDuration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = system(now - BEFORE).into();
    params.not_after = system(now + life).into();
    params
}

fn system(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default())
}
