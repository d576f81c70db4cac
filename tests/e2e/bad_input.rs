//! The table of bad input (docs/bad-input.md), from end to end: each mistake is answered where its author looks, and
//! everybody else is served as before.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;
use tests::load::{self, request};
use tests::shop::{self, Caller};
use tests::{Machine, Setup, Upstream, books, eventually, free_port, program, turn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// Read last, so that of two objects of one name the other file's comes first.
const FILE: &str = "zz-bad.yaml";

struct Shop {
    machine: Machine,
    callers: [Caller; 2],
    port: u16,
    upstream: Upstream,
}

impl Shop {
    /// Alice may call; the subscription of `late` has expired.
    async fn start() -> anyhow::Result<Self> {
        let callers = [Caller::new("alice", 1_000_000, "Year"), Caller::new("late", 1_000_000, "Year")];
        let upstream = Upstream::start().await?;
        let port = free_port();
        let plan = "planRef: { name: late }";
        let expired =
            shop::callers(&callers).replace(plan, &format!("{plan}\n  notAfter: 2020-01-01T00:00:00Z"));
        let machine = Setup::new()
            .file("gateway.yaml", shop::gateway(port, upstream.port(), &callers))
            .file("callers.yaml", expired)
            .start()?;
        Ok(Self { machine, callers, port, upstream })
    }

    /// Alice is served as if nothing were wrong.
    async fn serves(&self) -> anyhow::Result<()> {
        let (_, answer) = request(&load::client(), &self.callers[0], self.port, 2).await?;
        ensure!(answer.status == 200, "status {}", answer.status);
        Ok(())
    }

    /// Writes `text`, waits for a line with `expected`, and takes it away again.
    async fn told(&self, text: &str, expected: &str) -> anyhow::Result<()> {
        self.machine.write(FILE, text)?;
        self.machine.expect_line(expected, TOLD_WITHIN).with_context(|| text.to_owned())?;
        self.serves().await.with_context(|| text.to_owned())?;
        std::fs::remove_file(self.machine.folder().join(FILE))?;
        Ok(())
    }
}

/// A Gateway of its own with TLS.
fn tls_gateway(port: u16) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: bad, namespace: shop }}\nspec:\n  \
         gatewayClassName: turnpike\n  listeners:\n    - name: https\n      port: {port}\n      protocol: HTTPS\n      \
         tls: {{ certificateRefs: [{{ name: bad }}] }}\n"
    )
}

fn secret(certificate: &rcgen::Certificate, key: &rcgen::KeyPair) -> String {
    let indent = |text: String| text.lines().fold(String::new(), |all, line| all + "    " + line + "\n");
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: bad, namespace: shop }}\ntype: kubernetes.io/tls\n\
         stringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        indent(certificate.pem()),
        indent(key.serialize_pem())
    )
}

/// Mistakes in a file, and the line that `turnpike up` prints.
fn mistakes() -> anyhow::Result<Vec<(String, &'static str)>> {
    let own = rcgen::KeyPair::generate()?;
    let other = rcgen::KeyPair::generate()?;
    let mut parameters = rcgen::CertificateParams::new(vec!["a.example.com".to_owned()])?;
    let valid = parameters.self_signed(&own)?;
    parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let expired = parameters.self_signed(&own)?;
    let plan = |name: &str, spec: &str| {
        format!(
            "apiVersion: turnpike.dev/v1alpha1\nkind: Plan\nmetadata: {{ name: {name}, namespace: shop }}\nspec: {spec}\n"
        )
    };
    Ok(vec![
        ("a: [1, 2\nb: 3\n".to_owned(), "zz-bad.yaml:2:2: error: not valid YAML"),
        (
            plan("gold", "{ quotta: [] }"),
            "zz-bad.yaml:4:9: error: Plan shop/gold: spec.quotta: unknown field; did you mean quotas?",
        ),
        (
            plan("alice", "{}"),
            "Plan shop/alice: metadata.name: there is already a Plan shop/alice, at callers.yaml:",
        ),
        (
            tls_gateway(free_port()),
            "Gateway shop/bad: listener https: not ResolvedRefs (InvalidCertificateRef)",
        ),
        (
            tls_gateway(free_port()) + &secret(&valid, &other),
            "`tls.key` does not belong to the first certificate in `tls.crt`",
        ),
        (
            tls_gateway(free_port()) + &secret(&expired, &own),
            "warning: Gateway shop/bad: listener https: certificate shop/bad has expired",
        ),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_files_are_told_by_line_and_change_nothing_else() -> anyhow::Result<()> {
    let _turn = turn().await;
    let shop = Shop::start().await?;
    for (text, expected) in mistakes()? {
        shop.told(&text, expected).await?;
    }
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    let listener = tls_gateway(port)
        .replace("HTTPS", "HTTP")
        .replace("      tls: { certificateRefs: [{ name: bad }] }\n", "");
    shop.told(&listener, "listener shop/bad/https").await?;
    let doctor = shop.machine.run(&["doctor"])?;
    ensure!(doctor.status.code().is_some(), "{doctor:?}");

    let (folder, aside) = (shop.machine.folder(), shop.machine.state().join("aside"));
    std::fs::rename(&folder, &aside)?;
    shop.machine.expect_line("is not a folder", TOLD_WITHIN)?;
    shop.serves().await?;
    std::fs::rename(&aside, &folder)?;
    let output = shop.machine.run(&["doctor"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

#[test]
fn a_folder_that_is_not_there_is_named() -> anyhow::Result<()> {
    let state = tempfile::tempdir()?;
    let output = std::process::Command::new(program()?)
        .args(["up", "/nonexistent/folder", "--state"])
        .arg(state.path())
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && text.contains("/nonexistent/folder cannot be read"), "{text}");
    Ok(())
}

/// What comes back for these bytes, until the connection ends.
async fn raw(port: u16, bytes: &[u8]) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(bytes).await?;
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    ensure!(ended.is_ok(), "the connection stays open: {}", String::from_utf8_lossy(&answer));
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Refusal {
    status: u16,
    reason: String,
    n: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_with_a_record_and_reach_nobody() -> anyhow::Result<()> {
    let _turn = turn().await;
    let shop = Shop::start().await?;
    let key = shop.callers[0].key();
    let head = |more: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nX-Api-Key: {key}\r\n{more}\r\n");
    let both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
    let malformed = [
        head(both) + "0\r\n\r\n",
        head("").replace("\r\n", "\n"),
        head("X-A: b\r\n folded: yes\r\n"),
        head("Host: b\r\n"),
    ];
    for request in &malformed {
        let answer = raw(shop.port, request.as_bytes()).await.with_context(|| request.clone())?;
        ensure!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"reason\":\"malformed_request\""),
            "{request:?}: {answer}"
        );
    }
    let answer = raw(shop.port, head(&format!("X-A: {}\r\n", "x".repeat(1 << 20))).as_bytes()).await;
    // So much of it is left unread that the answer may be lost with the connection.
    ensure!(
        answer.as_ref().map_or(true, |text| text.is_empty() || text.starts_with("HTTP/1.1 431 ")),
        "{answer:?}"
    );

    let http = load::client();
    let url = format!("http://127.0.0.1:{}/", shop.port);
    for (key, status) in [("tk_wrong", 401), (shop.callers[1].key().as_str(), 403)] {
        let answer = http.get(&url).header("x-api-key", key).send().await?;
        ensure!(answer.status() == status, "{key}: {}", answer.status());
        ensure!(answer.headers()["content-type"] == "application/problem+json", "{answer:?}");
    }
    ensure!(shop.upstream.seen() == 0, "{} requests reached the upstream", shop.upstream.seen());
    shop.serves().await?;
    books::complete(&shop.machine, jiff::Timestamp::now()).await;
    let rows: Vec<Refusal> = shop
        .machine
        .query("SELECT status, reason, toUInt64(sum(n)) AS n FROM usage_records WHERE status >= 400 GROUP BY ALL ORDER BY ALL")
        .await?;
    let refusal = |status, reason: &str, n| Refusal { status, reason: reason.to_owned(), n };
    let expected = [
        refusal(400, "malformed_request", malformed.len() as u64),
        refusal(401, "auth_invalid", 1),
        refusal(403, "subscription_expired", 1),
        refusal(431, "headers_too_large", 1),
    ];
    ensure!(rows == expected, "{rows:?}");
    Ok(())
}

/// Several starts on one state folder would mix up two machines' usage.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_folder_in_use_is_named() -> anyhow::Result<()> {
    let _turn = turn().await;
    let shop = Shop::start().await?;
    let output =
        shop.machine.run(&["up", &shop.machine.folder().display().to_string(), "--listen", "127.0.0.1:0"])?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && text.contains("another `turnpike up` uses the state folder"),
        "{text}"
    );
    eventually("the first one serves on", Duration::from_secs(5), || async {
        shop.serves().await.map_err(|error| format!("{error:#}"))
    })
    .await;
    Ok(())
}
