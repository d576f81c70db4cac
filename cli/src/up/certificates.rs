//! A development CA: certificates for listeners of one machine, where nobody has issued any.
//!
//! A Gateway asks for it with the annotation `turnpike.dev/issuer: development`; a Secret that exists is never
//! replaced. Keys stay in the state folder. Trust `ca.pem` there, and curl and browsers are content.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::state::write_private;

/// Life of a leaf; browsers refuse more than 398 days.
const LEAF_LIFE: Duration = Duration::from_hours(90 * 24);
/// A leaf with less than this left is issued anew.
const RENEW_WITHIN: Duration = Duration::from_hours(30 * 24);
const CA_LIFE: Duration = Duration::from_hours(3650 * 24);

/// The CA of one state folder.
#[derive(Debug)]
pub(crate) struct DevelopmentCa {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl DevelopmentCa {
    /// Opens the CA of `folder`, made at the first call.
    pub(crate) fn open(folder: &Path, now: SystemTime) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (certificate, key) = (folder.join("ca.pem"), folder.join("ca-key.pem"));
        if !certificate.exists() {
            let made = CertifiedIssuer::self_signed(ca_params(now), KeyPair::generate()?)?;
            write_private(&key, made.key().serialize_pem().as_bytes())?;
            // The certificate last: its presence says that the pair is whole.
            write_private(&certificate, made.pem().as_bytes())?;
        }
        let damaged = || format!("the development CA in {} is damaged; delete that folder", folder.display());
        let pair =
            KeyPair::from_pem(&fs::read_to_string(&key).with_context(damaged)?).with_context(damaged)?;
        let issuer =
            Issuer::from_ca_cert_pem(&fs::read_to_string(&certificate)?, pair).with_context(damaged)?;
        Ok(Self { folder: folder.to_path_buf(), issuer })
    }

    /// The Secret `namespace/name` for these hosts, as YAML; the same one until it nears its end.
    pub(crate) fn secret(
        &self,
        namespace: &str,
        name: &str,
        hosts: &[String],
        now: SystemTime,
    ) -> anyhow::Result<String> {
        // Names of Kubernetes objects hold no path separators, but this text came from a file of a user.
        if [namespace, name].iter().any(|part| part.contains('/') || part.starts_with('.')) {
            bail!("`{namespace}/{name}` is not a name for a Secret");
        }
        let path = self.folder.join(format!("{namespace}_{name}.yaml"));
        let header = format!("# hosts: {}\n", hosts.join(" "));
        if let Ok(kept) = fs::read_to_string(&path)
            && kept.starts_with(&header)
            && age(&path, now) + RENEW_WITHIN < LEAF_LIFE
        {
            return Ok(kept);
        }
        let secret = header + &self.issue(namespace, name, hosts, now)?;
        write_private(&path, secret.as_bytes())?;
        Ok(secret)
    }

    fn issue(
        &self,
        namespace: &str,
        name: &str,
        hosts: &[String],
        now: SystemTime,
    ) -> anyhow::Result<String> {
        let mut params = CertificateParams::new(hosts.to_vec())
            .with_context(|| format!("cannot issue a certificate for {}", hosts.join(", ")))?;
        params.distinguished_name = named(hosts.first().map_or("localhost", String::as_str));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = (now - Duration::from_hours(1)).into();
        params.not_after = (now + LEAF_LIFE).into();
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let secret = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": name, "namespace": namespace },
            "type": "kubernetes.io/tls",
            "stringData": { "tls.crt": leaf.pem(), "tls.key": key.serialize_pem() },
        });
        // JSON is YAML.
        Ok(serde_json::to_string(&secret)?)
    }
}

fn ca_params(now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Turnpike development CA of this machine");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - Duration::from_hours(1)).into();
    params.not_after = (now + CA_LIFE).into();
    params
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn age(path: &Path, now: SystemTime) -> Duration {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|modified| now.duration_since(modified).ok())
        .unwrap_or_default()
}
