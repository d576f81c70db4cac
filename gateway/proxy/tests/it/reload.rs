//! Snapshots: swapped, refused, remembered.

use gateway_snapshot::{BackendProtocol, Listener};

use crate::rig::{Rig, eventually};
use crate::snapshot::{Build, PLAIN, certificate};
use crate::upstream::Upstream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_snapshot_is_refused_by_name_and_the_good_one_serves_on() {
    let (_, upstream) = Upstream::start().await;
    let build = Build::new().backend("b", BackendProtocol::Http1, &[upstream]).route("/", "b");
    let rig = Rig::start(&build).await;
    let mut broken = certificate(&["x"]);
    broken.key = "no key".into();
    let bad = build.clone().version("2").secure(&[("shop/bad", broken)]);
    rig.write(&bad);
    let answer = rig.answer("2").await;
    assert_eq!(answer["accepted"], false);
    assert!(answer["errors"][0].as_str().unwrap().starts_with("certificate shop/bad: "), "{answer}");
    rig.write_bytes(br#"{"version":"3","nonsense":true}"#);
    assert_eq!(rig.answer("3").await["accepted"], false);
    assert_eq!(rig.status().await["version"], "1");
    assert_eq!(rig.status().await["refused"]["version"], "3");
    assert_eq!(reqwest::get(rig.url("/").await).await.unwrap().status(), 200);
    rig.apply(&build.version("4")).await;
    assert!(rig.status().await["refused"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_from_its_last_good_snapshot() {
    let (_, upstream) = Upstream::start().await;
    let build = Build::new().backend("b", BackendProtocol::Http1, &[upstream]).route("/", "b");
    let mut rig = Rig::start(&build).await;
    rig.drain().await;
    std::fs::remove_file(rig.path()).unwrap();
    rig.boot().await;
    assert_eq!(rig.status().await["ready"], true);
    assert_eq!(reqwest::get(rig.url("/").await).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_told_and_tried_again() {
    // Even another gateway, whose workers share a port, does not share it with this one.
    let mut other = Rig::start(&Build::new()).await;
    let port = other.plain().await.port();
    let mut build = Build::new();
    let plain: Listener = build.0.listeners.get(PLAIN).unwrap().clone();
    build.0.listeners.insert("shop/web/taken".into(), Listener { name: "taken".into(), port, ..plain });
    let rig = Rig::start(&build).await;
    let answer = rig.answer("1").await;
    let error = answer["errors"][0].as_str().unwrap();
    assert!(
        error.contains("listener shop/web/taken") && error.contains("another process has this port"),
        "{error}"
    );
    assert_eq!(reqwest::get(rig.url("/").await).await.unwrap().status(), 404, "the other listener serves");
    other.drain().await;
    eventually(|| async {
        rig.status().await["listeners"]["shop/web/taken"]["address"].is_string().then_some(())
    })
    .await;
    eventually(|| async { rig.answer("1").await["errors"].as_array().unwrap().is_empty().then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_chosen_by_name_and_replaced_while_running() {
    let (old, other) = (certificate(&["a.example"]), certificate(&["*.b.example"]));
    let build = Build::new().secure(&[("shop/a", old.clone()), ("shop/b", other.clone())]);
    let rig = Rig::start(&build).await;
    let address = rig.secure().await;
    let fetch = |pem: String, host: &'static str| async move {
        let root = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([root])
            .resolve(host, address)
            .build()
            .unwrap();
        client
            .get(format!("https://{host}:{}/", address.port()))
            .send()
            .await
            .map(|response| response.status().as_u16())
    };
    assert_eq!(fetch(old.chain.clone(), "a.example").await.unwrap(), 404);
    assert_eq!(fetch(other.chain, "x.b.example").await.unwrap(), 404);
    let new = certificate(&["a.example"]);
    rig.apply(&Build::new().version("2").secure(&[("shop/a", new.clone())])).await;
    assert_eq!(fetch(new.chain, "a.example").await.unwrap(), 404);
    assert!(fetch(old.chain, "a.example").await.is_err(), "the old certificate is gone");
    assert_eq!(rig.secure().await, address, "the port was not touched");
}
