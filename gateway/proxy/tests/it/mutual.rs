//! Certificates of those who ask: of callers at listeners, and of the gateway at backends.

use std::net::SocketAddr;

use gateway_snapshot::{BackendProtocol, CallerCertificateMode, CallerCertificates, Certificate};

use crate::rig::Rig;
use crate::snapshot::{Build, PLAIN, SECURE, certificate};
use crate::tls::{Secure, ask, backend, connect_as, demand};
use crate::upstream::Upstream;

/// Whether a caller that shows this certificate gets an answer, in both versions of TLS.
async fn answered(address: SocketAddr, caller: Option<&Certificate>, server: &Certificate) -> bool {
    let mut answers = Vec::new();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        // With TLS 1.3 a caller learns only from the first answer that it was not taken.
        let answer = match connect_as(address, caller, server, "a.example", version).await {
            Ok(mut stream) => ask(&mut stream, "a.example").await,
            Err(_) => String::new(),
        };
        answers.push(answer.starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(answers[0], answers[1], "both versions agree");
    answers[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_takes_callers_by_their_certificates() {
    let (_, upstream) = Upstream::start().await;
    let (server, good, other) =
        (certificate(&["a.example"]), certificate(&["good"]), certificate(&["other"]));
    let build = Build::new()
        .secure(&[("shop/a", server.clone())])
        .backend("b", BackendProtocol::Http1, &[upstream])
        .route("/", "b");
    let asking = |version: &str, callers: Option<CallerCertificates>| {
        let mut build = build.clone().version(version);
        build.0.listeners.get_mut(SECURE).unwrap().tls.as_mut().unwrap().callers = callers;
        build
    };
    let of = |ca: &Certificate, mode| Some(CallerCertificates { ca: ca.chain.clone(), mode });
    let rig = Rig::start(&asking("1", None)).await;
    let address = rig.secure().await;
    for (version, callers, taken) in [
        ("2", of(&good, CallerCertificateMode::Valid), [true, false, false]),
        ("3", of(&other, CallerCertificateMode::Valid), [false, true, false]),
        ("4", of(&good, CallerCertificateMode::Any), [true, true, true]),
        ("5", of(&good, CallerCertificateMode::Valid), [true, false, false]),
        ("6", None, [true, true, true]),
    ] {
        rig.apply(&asking(version, callers)).await;
        let mut found = Vec::new();
        for caller in [Some(&good), Some(&other), None] {
            found.push(answered(address, caller, &server).await);
        }
        assert_eq!(found, taken, "version {version}: the right one, another, none");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_that_are_none_refuse_the_snapshot() {
    let mut build = Build::new().secure(&[("shop/a", certificate(&["a.example"]))]);
    let callers = CallerCertificates { ca: "no PEM".into(), mode: CallerCertificateMode::Valid };
    let rig = Rig::start(&build.clone()).await;
    build.0.listeners.get_mut(SECURE).unwrap().tls.as_mut().unwrap().callers = Some(callers);
    rig.write(&build.version("2"));
    let answer = rig.answer("2").await;
    assert_eq!(answer["accepted"], false);
    assert!(answer["errors"][0].as_str().unwrap().starts_with("listener shop/web/secure: "), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_sees_the_certificate_of_the_gateway() {
    let (server, good, other) =
        (certificate(&["up.example"]), certificate(&["good"]), certificate(&["other"]));
    let (_upstream, address) = Secure::start_for(&server, Some(&good)).await;
    let mut build = Build::new();
    for (key, names) in [("usual", &[][..]), ("names", &["up.example"][..])] {
        for (protocol, number) in [(BackendProtocol::Http1, 1), (BackendProtocol::H2, 2)] {
            let key = format!("{key}{number}");
            build = build.route(&format!("/{key}"), &key);
            build
                .0
                .backends
                .insert(key, backend(address, protocol, demand("up.example", &server.chain, names)));
        }
    }
    build.0.certificates.insert("shop/good".into(), good);
    build.0.certificates.insert("shop/other".into(), other);
    let showing = |version: &str, key: Option<&str>| {
        let mut build = build.clone().version(version);
        build.0.listeners.get_mut(PLAIN).unwrap().client_certificate = key.map(str::to_owned);
        build
    };
    let rig = Rig::start(&showing("1", Some("shop/good"))).await;
    // Connections of an earlier version stay open: whoever shows something else must not be given them.
    for (version, key, status) in [
        ("2", Some("shop/good"), 200),
        ("3", Some("shop/other"), 502),
        ("4", None, 502),
        ("5", Some("shop/good"), 200),
    ] {
        rig.apply(&showing(version, key)).await;
        for path in ["/usual1", "/usual2", "/names1", "/names2"] {
            let response = reqwest::get(rig.url(path).await).await.unwrap();
            assert_eq!(response.status(), status, "version {version}, {path}");
        }
    }
}
