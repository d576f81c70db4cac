//! Bytes that mean harm: reading ends, soon, without a panic, and says what is wrong.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::super::limits;
use super::{read_one, said};

/// Reads within a time that is generous for a debug build.
fn reads_soon(text: &str) -> Vec<String> {
    let start = Instant::now();
    let said = said(text);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    said
}

#[test]
fn alias_bombs_are_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    let said = reads_soon(&bomb);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("not valid YAML"), "{said:?}");
}

#[test]
fn deep_nesting_is_refused() {
    let depth = 100_000;
    for text in [
        "[".repeat(depth),
        "{a: ".repeat(depth),
        "- ".repeat(depth),
        format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
        (0..2_000).map(|level| " ".repeat(level) + "a:\n").collect(),
    ] {
        let said = reads_soon(&text);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("not valid YAML"), "{said:?}");
    }
}

#[test]
fn large_documents_of_nonsense_are_refused() {
    let header = "apiVersion: turnpike.dev/v1alpha1\nkind: Consumer\nmetadata: {name: x}\n";
    let mut many = String::new();
    for number in 0..40_000 {
        writeln!(many, "field{number}: 1").unwrap();
    }
    let said = reads_soon(&format!("{header}{many}"));
    assert_eq!(said.len(), limits::PROBLEMS);

    let long = "x".repeat(limits::DOCUMENT_BYTES - 1_000);
    let said = reads_soon(&format!("{header}spec: {{displayName: {long}}}\n"));
    assert_eq!(said.len(), 1);
    assert!(said[0].len() < 300, "{said:?}");
}

#[test]
fn a_list_cannot_be_longer_than_the_schema_allows() {
    let targets = "  - {group: gateway.networking.k8s.io, kind: Gateway, name: x}\n".repeat(30_000);
    let text = format!(
        "apiVersion: turnpike.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {{name: x}}\nspec:\n  targetRefs:\n{targets}"
    );
    let said = reads_soon(&text);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("must have at most 16 elements, not 30000"), "{said:?}");
}

/// Small documents of every kind, as material for mutations.
const SEEDS: &[&str] = &[
    "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: orders, namespace: shop}\nspec:\n  \
     parentRefs: [{name: gw}]\n  hostnames: [\"*.example.com\"]\n  rules:\n  - matches:\n    - path: {type: PathPrefix, value: /a}\n      \
     headers: [{name: x, value: b}]\n    filters:\n    - type: RequestHeaderModifier\n      requestHeaderModifier: {set: [{name: a, value: b}]}\n    \
     timeouts: {request: 10s}\n    backendRefs: [{name: a, port: 80, weight: 2}]\n",
    "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: gw}\nspec:\n  gatewayClassName: turnpike\n  \
     listeners:\n  - {name: http, port: 80, protocol: HTTP}\n  - name: https\n    port: 443\n    protocol: HTTPS\n    \
     tls: {certificateRefs: [{name: cert}]}\n    allowedRoutes: {namespaces: {from: All}}\n",
    "apiVersion: turnpike.dev/v1alpha1\nkind: Consumer\nmetadata: {name: alice}\nspec:\n  displayName: Alice\n  groups: [a, b]\n  \
     tags: {k: v}\n  credentials:\n    apiKeys:\n    - {name: one, secretRef: {name: s}, notAfter: 2030-01-01T00:00:00Z}\n",
    "apiVersion: turnpike.dev/v1alpha1\nkind: Plan\nmetadata: {name: gold}\nspec:\n  rates: [{name: r, requests: 5, period: 1s}]\n  \
     quotas:\n  - {name: q, quantity: 1000, period: Month, zone: Europe/Berlin, mode: Soft, overdraft: 5}\n  \
     prices: [{unit: Requests, amount: \"0.1\", currency: EUR}]\n",
    "apiVersion: v1\nkind: Secret\nmetadata: &m {name: x}\ndata: {a: b25l}\nstringData:\n  b: |\n    text\n---\n\
     apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: &l {a: b}}\ndata: *l\n",
    "apiVersion: v1\nkind: List\nitems:\n- apiVersion: discovery.k8s.io/v1\n  kind: EndpointSlice\n  metadata: {name: e}\n  \
     addressType: IPv4\n  endpoints: [{addresses: [127.0.0.1], conditions: {ready: true}}]\n  ports: [{port: 80}]\n",
];

#[test]
fn seeds_are_accepted() {
    for seed in SEEDS {
        assert_eq!(said(seed), Vec::<String>::new(), "{seed}");
    }
}

/// Pieces that a mutation puts in.
const PIECES: &[&str] = &[
    "---\n",
    "...\n",
    "- ",
    ": ",
    "\n",
    "  ",
    "&m ",
    "*m",
    "<<: *m\n",
    "!!binary ",
    "!x ",
    "[",
    "]",
    "{",
    "}",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "#",
    "null",
    "~",
    "true",
    "1e999",
    "-1",
    "99999999999999999999",
    "0x7f",
    ".nan",
    "\u{0}",
    "\u{feff}",
    "\u{2028}",
    "\t",
    "%YAML 1.2\n",
    "? ",
    "kind: Plan\n",
    "spec:\n",
    "ä",
    "\r\n",
    "2026-13-45T99:99:99Z",
];

struct Mutations(TestRng);

impl Mutations {
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.0.next_u64() % limit.max(1) as u64).unwrap()
    }

    fn document(&mut self) -> String {
        let mut text = SEEDS[self.below(SEEDS.len())].to_owned().into_bytes();
        for _ in 0..=self.below(3) {
            let at = self.below(text.len() + 1);
            let end = (at + self.below(9)).min(text.len());
            let piece = match self.below(5) {
                0 => Vec::new(),
                1 => vec![self.below(256) as u8],
                2 => text[at..end].repeat(self.below(4)),
                3 => {
                    let other = SEEDS[self.below(SEEDS.len())].as_bytes();
                    let from = self.below(other.len());
                    other[from..(from + self.below(30)).min(other.len())].to_vec()
                }
                _ => PIECES[self.below(PIECES.len())].as_bytes().to_vec(),
            };
            let until = if self.below(2) == 0 { at } else { end };
            text.splice(at..until, piece);
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// `MUTATIONS` and `SEED` in the environment make it longer, or another one.
#[test]
fn mutated_documents_never_panic() {
    let number = |name: &str, default: u64| -> u64 {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (count, seed) = (number("MUTATIONS", 20_000), number("SEED", 7));
    let mut mutations = Mutations(TestRng::from_seed(RngAlgorithm::ChaCha, &{
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes
    }));
    let mut accepted = 0_u64;
    for index in 0..count {
        let text = mutations.document();
        let outcome = std::panic::catch_unwind(|| read_one(&text));
        let Ok((resources, diagnostics)) = outcome else {
            panic!("mutation {index} of seed {seed}:\n{text}")
        };
        accepted += resources.len() as u64;
        for diagnostic in &diagnostics {
            let line = diagnostic.to_string();
            assert!(line.len() < 2_000 && !line.contains('\n'), "mutation {index} of seed {seed}: {line:?}");
        }
    }
    // Mutations that break everything at once would test little.
    assert!(accepted > count / 20, "{accepted} objects in {count} documents");
}
