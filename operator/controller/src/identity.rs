//! Who is who inside: a CA of ours, and certificates that name operators, analytics and fleets by URI (SPIFFE).
//!
//! The CA lies in a Secret of the operator's namespace and outlives the operator. Pure but for reading and writing that
//! Secret.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crds::k8s_openapi::ByteString;
use crds::k8s_openapi::api::core::v1::Secret;
use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, ObjectMeta, PostParams};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use x509_parser::extensions::GeneralName;

use crate::Error;

/// The URI of analytics.
pub(crate) const ANALYTICS: &str = "spiffe://turnpike/analytics";
/// The name by which gateways know an operator, whatever its address.
const OPERATOR_NAME: &str = "operator.turnpike";
/// Name of the Secret.
const SECRET: &str = "turnpike-ca";
const CA_LIFE: SignedDuration = SignedDuration::from_hours(24 * 3650);
/// Life of a certificate of a fleet.
const LIFE: SignedDuration = SignedDuration::from_hours(24 * 90);
/// Clocks may differ.
const BEFORE: SignedDuration = SignedDuration::from_hours(1);

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

/// The CA.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    /// PEM.
    pub(crate) certificate: String,
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
                return Self::read(&secret).map_err(damaged);
            }
            let secret =
                Self::make(now).map_err(|error| Error::Ca { secret: what(), problem: error.to_string() })?;
            match api.create(&PostParams::default(), &secret).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                created => drop(created.map_err(failed)?),
            }
        }
        Err(Error::Ca { secret: what(), problem: "it comes and goes".to_owned() })
    }

    fn read(secret: &Secret) -> Result<Self, String> {
        let text = |key: &str| {
            let bytes =
                secret.data.as_ref().and_then(|data| data.get(key)).ok_or(format!("{key} is missing"))?;
            String::from_utf8(bytes.0.clone()).map_err(|_| format!("{key} is not PEM"))
        };
        let (certificate, key) = (text("tls.crt")?, text("tls.key")?);
        let key = KeyPair::from_pem(&key).map_err(|error| format!("tls.key: {error}"))?;
        let issuer =
            Issuer::from_ca_cert_pem(&certificate, key).map_err(|error| format!("tls.crt: {error}"))?;
        Ok(Self { issuer, certificate })
    }

    fn make(now: Timestamp) -> Result<Secret, rcgen::Error> {
        let mut params = params("Turnpike internal CA", now, CA_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let made = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let data = [("tls.crt", made.pem()), ("tls.key", made.key().serialize_pem())];
        Ok(Secret {
            metadata: ObjectMeta {
                name: Some(SECRET.to_owned()),
                labels: Some(BTreeMap::from([(
                    "app.kubernetes.io/managed-by".to_owned(),
                    "turnpike".to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(data.map(|(key, pem)| (key.to_owned(), ByteString(pem.into_bytes()))).into()),
            ..Secret::default()
        })
    }

    /// A certificate for the operator's own server.
    pub(crate) fn operator(&self, now: Timestamp) -> Result<Identity, rcgen::Error> {
        self.issue("spiffe://turnpike/operator", Some(OPERATOR_NAME), now, CA_LIFE)
    }

    /// A certificate for the gateways of a fleet, and when to issue the next one.
    pub(crate) fn fleet(&self, fleet: &str, now: Timestamp) -> Result<(Identity, Timestamp), rcgen::Error> {
        let identity = self.issue(&fleet_uri(fleet), None, now, LIFE)?;
        Ok((identity, now + LIFE * 2 / 3))
    }

    /// A certificate for analytics, which gateways reach as `host`, and when to issue the next one.
    pub(crate) fn analytics(
        &self,
        host: &str,
        now: Timestamp,
    ) -> Result<(Identity, Timestamp), rcgen::Error> {
        let identity = self.issue(ANALYTICS, Some(host), now, LIFE)?;
        Ok((identity, now + LIFE * 2 / 3))
    }

    fn issue(
        &self,
        uri: &str,
        name: Option<&str>,
        now: Timestamp,
        life: SignedDuration,
    ) -> Result<Identity, rcgen::Error> {
        let mut params = params("Turnpike", now, life);
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
