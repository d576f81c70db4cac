//! Certificate chains and private keys from Secrets: do they parse, and do they belong together?
//!
//! In: PEM bytes as they stand in `tls.crt` and `tls.key`. Out: a checked [`Certificate`] with what people ask
//! about it (names, serial, end of validity). Never logs or repeats key material. No clock: expiry is judged by
//! the caller.

use gateway_snapshot::Certificate;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a pair cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PairError {
    #[error("`tls.crt` holds no PEM certificate; put the chain there, leaf first")]
    NoCertificate,
    #[error("`tls.crt` is not text; put PEM there")]
    NotText,
    #[error("`tls.key` holds no PEM private key (PKCS#8, PKCS#1 or SEC1)")]
    NoKey,
    #[error("a certificate in `tls.crt` does not parse as X.509")]
    BadCertificate,
    #[error(
        "the private key in `tls.key` is of a kind that cannot be served; use RSA (2048 or more), ECDSA or Ed25519"
    )]
    BadKey,
    #[error(
        "`tls.key` does not belong to the first certificate in `tls.crt`; put the leaf first, with its own key"
    )]
    Mismatch,
}

/// The pair, checked.
pub(crate) fn pair(chain: &[u8], key: &[u8]) -> Result<Certificate, PairError> {
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|_| PairError::NoCertificate)?;
    let leaf = certificates.first().ok_or(PairError::NoCertificate)?.clone();
    let private = PrivateKeyDer::from_pem_slice(key).map_err(|_| PairError::NoKey)?;
    if !certificates.iter().all(|der| parses(der)) {
        return Err(PairError::BadCertificate);
    }
    let (names, serial, [not_before, not_after]) = describe(&leaf)?;
    check_match(certificates, &private)?;
    let text = |bytes: &[u8], error| String::from_utf8(bytes.to_vec()).map_err(|_| error);
    Ok(Certificate {
        chain: text(chain, PairError::NotText)?,
        key: text(key, PairError::NoKey)?,
        names,
        serial,
        not_before,
        not_after,
    })
}

fn check_match(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Result<(), PairError> {
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(key).map_err(|_| PairError::BadKey)?;
    match CertifiedKey::new(chain, signing).keys_match() {
        Ok(()) => Ok(()),
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err(PairError::Mismatch)
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(PairError::BadKey),
        Err(_) => Err(PairError::BadCertificate),
    }
}

fn describe(leaf: &[u8]) -> Result<(Vec<String>, String, [i64; 2]), PairError> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| PairError::BadCertificate)?;
    let mut names: Vec<String> = parsed
        .subject_alternative_name()
        .ok()
        .flatten()
        .into_iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    let validity = parsed.validity();
    let validity = [validity.not_before.timestamp(), validity.not_after.timestamp()];
    Ok((names, serial(parsed.raw_serial()), validity))
}

/// A serial number as people's tools write it: DER puts a zero before a number that would be negative without (X.690, 8.3).
fn serial(der: &[u8]) -> String {
    hex::encode(der.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(der))
}

fn parses(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty())
}

/// Whether `bundle` is text that holds at least one PEM certificate, and none that no chain can end at.
pub(crate) fn is_bundle(bundle: &str) -> bool {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bundle.as_bytes()).collect();
    let anchors = |der: &CertificateDer<'static>| {
        parses(der) && rustls::RootCertStore::empty().add(der.clone()).is_ok()
    };
    parsed.is_ok_and(|certificates: Vec<CertificateDer<'static>>| {
        !certificates.is_empty() && certificates.iter().all(anchors)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_pair_tells_its_names_and_end() {
        let (chain, key) = fresh(&["shop.example", "*.shop.example"]);
        let certificate = pair(chain.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(certificate.names, ["*.shop.example", "shop.example"]);
        assert!(certificate.not_after > 4_000_000_000 && !certificate.serial.is_empty());
        assert!(is_bundle(&chain) && !is_bundle(&key) && !is_bundle(""));
    }

    #[test]
    fn a_serial_number_is_written_as_by_openssl() {
        for (bytes, written) in [(&[0xf1, 2][..], "f102"), (&[0x0a, 0], "0a00"), (&[5], "05")] {
            let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
            params.serial_number = Some(rcgen::SerialNumber::from_slice(bytes));
            let key = rcgen::KeyPair::generate().unwrap();
            let chain = params.self_signed(&key).unwrap().pem();
            assert_eq!(pair(chain.as_bytes(), key.serialize_pem().as_bytes()).unwrap().serial, written);
        }
    }

    #[test]
    fn each_mistake_has_its_own_message() {
        let (chain, key) = fresh(&["a.example"]);
        let (_, other) = fresh(&["a.example"]);
        assert_eq!(pair(chain.as_bytes(), other.as_bytes()), Err(PairError::Mismatch));
        assert_eq!(pair(b"hello", key.as_bytes()), Err(PairError::NoCertificate));
        assert_eq!(pair(chain.as_bytes(), b""), Err(PairError::NoKey));
        let junk = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
        assert_eq!(pair(junk.as_bytes(), key.as_bytes()), Err(PairError::BadCertificate));
        let junk = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n";
        assert_eq!(pair(chain.as_bytes(), junk.as_bytes()), Err(PairError::BadKey));
    }
}
