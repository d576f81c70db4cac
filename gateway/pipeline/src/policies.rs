//! Policies that rules refer to, compiled: AuthPolicy, RateLimitPolicy, QuotaPolicy.
//!
//! In: the policies of a snapshot. Out: compiled ones; those that count keep their subjects over a reload.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use gateway_quota::Mono;
use gateway_snapshot::Dimension;
use http::{HeaderName, HeaderValue};

use crate::callers::Groups;
use crate::credential::Source;
use crate::prepare::Context;
use crate::terms::{Accounts, Subjects, Terms};

/// Longest header value that is a subject of its own spelling; longer ones are known by their hash.
const MAX_SUBJECT_BYTES: usize = 128;

#[derive(Default)]
pub(crate) struct Policies {
    pub(crate) auth: Vec<Auth>,
    pub(crate) rates: Vec<Counted>,
    pub(crate) quotas: Vec<Counted>,
}

pub(crate) struct Auth {
    pub(crate) key: Box<str>,
    pub(crate) sources: Vec<Source>,
    pub(crate) allow_anonymous: bool,
    /// Ids from [`Groups`].
    pub(crate) groups: Box<[u32]>,
    pub(crate) hide: bool,
    /// Value of `WWW-Authenticate`.
    pub(crate) challenge: HeaderValue,
}

/// A policy with an account for each subject.
pub(crate) struct Counted {
    pub(crate) key: Box<str>,
    pub(crate) terms: Terms,
    by: By,
    subjects: Arc<Subjects>,
}

enum By {
    All,
    Consumer,
    ClientAddress,
    Header(HeaderName),
}

/// What subjects are told apart by.
pub(crate) struct Caller<'a> {
    pub(crate) consumer: Option<&'a str>,
    pub(crate) client: IpAddr,
    pub(crate) headers: &'a dyn crate::head::Headers,
}

impl Policies {
    pub(crate) fn new(context: &mut Context<'_>, groups: &mut Groups, previous: Option<&Self>) -> Self {
        let snapshot = context.snapshot;
        let mut policies = Self::default();
        for (key, policy) in &snapshot.auth_policies {
            match Auth::new(key, policy, groups) {
                Ok(auth) => policies.auth.push(auth),
                Err(problem) => context.fault(format!("auth policy {key}"), problem),
            }
        }
        for (key, policy) in &snapshot.rate_limit_policies {
            let before = previous.and_then(|old| find(&old.rates, key));
            match Terms::of_rate(key, policy).and_then(|terms| Counted::new(key, terms, &policy.by, before)) {
                Ok(counted) => policies.rates.push(counted),
                Err(problem) => context.fault(format!("rate limit policy {key}"), problem),
            }
        }
        for (key, policy) in &snapshot.quota_policies {
            let before = previous.and_then(|old| find(&old.quotas, key));
            match Counted::new(key, Terms::of_quota(policy), &policy.by, before) {
                Ok(counted) => policies.quotas.push(counted),
                Err(problem) => context.fault(format!("quota policy {key}"), problem),
            }
        }
        policies
    }

    pub(crate) fn terms(&self) -> impl Iterator<Item = &Terms> {
        self.rates.iter().chain(&self.quotas).map(|counted| &counted.terms)
    }
}

fn find<'a>(policies: &'a [Counted], key: &str) -> Option<&'a Counted> {
    policies.binary_search_by(|counted| (*counted.key).cmp(key)).ok().map(|at| &policies[at])
}

impl Auth {
    fn new(key: &str, policy: &gateway_snapshot::AuthPolicy, groups: &mut Groups) -> Result<Self, String> {
        let sources = policy.api_key.iter().map(Source::new).collect::<Result<Vec<_>, _>>()?;
        let challenges: Vec<String> = sources.iter().map(Source::challenge).collect();
        Ok(Self {
            key: key.into(),
            allow_anonymous: policy.allow_anonymous,
            groups: groups.ids(&policy.groups),
            hide: policy.hide_credentials,
            challenge: crate::edits::value_of(&challenges.join(", "))?,
            sources,
        })
    }
}

impl Counted {
    fn new(key: &str, terms: Terms, by: &Dimension, before: Option<&Self>) -> Result<Self, String> {
        let by = match by {
            Dimension::All => By::All,
            Dimension::Consumer => By::Consumer,
            Dimension::ClientAddress => By::ClientAddress,
            Dimension::Header(name) => By::Header(crate::edits::name(name)?),
        };
        // Accounts of other subjects mean nothing to the new policy.
        let before = before.filter(|before| before.by.same(&by));
        let subjects = match before {
            Some(before) => Subjects::carried((&before.terms, &before.subjects), &terms),
            None => Arc::new(Subjects::default()),
        };
        Ok(Self { key: key.into(), terms, by, subjects })
    }

    /// The accounts of the caller.
    pub(crate) fn accounts(&self, caller: &Caller<'_>, now: Mono) -> Arc<Accounts> {
        let mut buffer = Buffer::default();
        let subject = match &self.by {
            By::All => "all",
            By::Consumer => caller.consumer.unwrap_or("anonymous"),
            By::ClientAddress => buffer.address(caller.client),
            By::Header(name) => {
                let subject = header_subject(caller.headers.first(name));
                return self.subjects.accounts(&self.terms, &subject, now);
            }
        };
        self.subjects.accounts(&self.terms, subject, now)
    }
}

impl By {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Header(a), Self::Header(b)) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// A subject for any bytes: short printable text as it is, anything else by its hash.
fn header_subject(value: Option<&[u8]>) -> Cow<'_, str> {
    let Some(value) = value else { return Cow::Borrowed("anonymous") };
    let printable =
        |text: &&str| text.len() <= MAX_SUBJECT_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(text) = std::str::from_utf8(value).ok().filter(printable) {
        return Cow::Borrowed(text);
    }
    let mut text = String::from("sha256:");
    for byte in crate::credential::hash(value) {
        write!(text, "{byte:02x}").expect("a string takes any text");
    }
    Cow::Owned(text)
}

/// Text of an address, made in place.
struct Buffer {
    bytes: [u8; 64],
    len: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { bytes: [0; 64], len: 0 }
    }
}

impl Buffer {
    /// An IPv4 address, or the /64 of an IPv6 address: one subscriber line owns that many.
    fn address(&mut self, address: IpAddr) -> &str {
        match address.to_canonical() {
            IpAddr::V4(address) => write!(self, "{address}"),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                write!(self, "{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        }
        .expect("an address fits");
        std::str::from_utf8(&self.bytes[..self.len]).expect("addresses are ASCII")
    }
}

impl std::fmt::Write for Buffer {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
