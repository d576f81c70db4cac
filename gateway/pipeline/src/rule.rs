//! One rule of a route, compiled.
//!
//! In: a rule of a snapshot. Out: everything that a request needs to know about it, by index. Timeouts and
//! limits of the process are already filled in.

use std::sync::Arc;
use std::time::Duration;

use analytics_record::NameId;
use gateway_snapshot::{BackendRef, Retry, Route, Rule as Written, Settings};

use crate::filters::Filters;
use crate::prepare::{BackendId, Context, References};
use crate::routing::RouteHead;

pub(crate) struct Rule {
    pub(crate) route: Arc<RouteHead>,
    /// Position in the route.
    pub(crate) position: u32,
    /// Its name, or its position.
    pub(crate) label: Box<str>,
    pub(crate) name: NameId,
    /// Index of the AuthPolicy.
    pub(crate) auth: Option<u32>,
    /// Index of the product.
    pub(crate) product: Option<u32>,
    pub(crate) rates: Box<[u32]>,
    pub(crate) quotas: Box<[u32]>,
    pub(crate) filters: Filters,
    pub(crate) backends: Backends,
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: Option<Retry>,
    pub(crate) max_body_bytes: u64,
}

/// Limits in time; nothing: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Whole request, retries included.
    pub request: Option<Duration>,
    /// One attempt at a backend.
    pub backend: Option<Duration>,
}

/// A weighted choice.
#[derive(Default)]
pub(crate) struct Backends {
    choices: Vec<Choice>,
    total: u64,
}

pub(crate) struct Choice {
    /// Sum of the weights up to and with this one.
    up_to: u64,
    pub(crate) weight: u32,
    pub(crate) to: Target,
    pub(crate) filters: Option<Box<Filters>>,
}

pub(crate) enum Target {
    Backend(BackendId),
    /// Why there is none; its share of requests gets a 500.
    Invalid(Box<str>),
}

impl Rule {
    pub(crate) fn new(
        context: &mut Context<'_>,
        references: &References<'_>,
        (head, route): (&Arc<RouteHead>, &Route),
        position: usize,
    ) -> Result<Self, String> {
        let written = &route.rules[position];
        let label = written.name.clone().unwrap_or_else(|| position.to_string());
        let name = context.name(&label);
        let settings = &context.snapshot.settings;
        let index = |keys: &[String], of: &hashbrown::HashMap<&str, u32>| {
            keys.iter().map(|key| of[key.as_str()]).collect::<Box<[u32]>>()
        };
        let (rates, quotas) =
            (index(&written.rate_limits, &references.rates), index(&written.quotas, &references.quotas));
        Ok(Self {
            route: Arc::clone(head),
            position: position as u32,
            label: label.into(),
            name,
            auth: written.auth.as_deref().map(|key| references.auth[key]),
            product: written.product.as_deref().map(|key| references.products[key]),
            rates,
            quotas,
            filters: Filters::new(&written.filters, references)?,
            backends: Backends::new(written, references)?,
            timeouts: Timeouts::new(written, settings),
            retry: written.retry.clone(),
            max_body_bytes: written.max_body_bytes.unwrap_or(settings.max_body_bytes),
        })
    }
}

impl Timeouts {
    fn new(written: &Written, settings: &Settings) -> Self {
        // Zero means no limit, both as a value and as the process's default (GEP-1742).
        let limit = |millis: u64| (millis > 0).then(|| Duration::from_millis(millis));
        Self {
            request: limit(written.timeouts.request_ms.unwrap_or(settings.request_timeout_ms)),
            backend: written.timeouts.backend_request_ms.and_then(limit),
        }
    }
}

impl Backends {
    fn new(written: &Written, references: &References<'_>) -> Result<Self, String> {
        let mut backends = Self::default();
        for choice in &written.backends {
            let to = match &choice.backend {
                BackendRef::Invalid(why) => Target::Invalid(why.as_str().into()),
                // `lint` has checked that the key resolves.
                BackendRef::To(key) => Target::Backend(BackendId(references.backends[key.as_str()])),
            };
            let filters = match choice.filters.as_slice() {
                [] => None,
                written => Some(Box::new(Filters::new(written, references)?)),
            };
            backends.total += u64::from(choice.weight);
            backends.choices.push(Choice { up_to: backends.total, weight: choice.weight, to, filters });
        }
        Ok(backends)
    }

    /// Chooses by weight; nothing when all weights are 0.
    pub(crate) fn choose(&self, random: u64) -> Option<(usize, &Choice)> {
        // A fair map of 64 random bits onto the weights, without division.
        let point = ((u128::from(random) * u128::from(self.total)) >> 64) as u64;
        let at = self.choices.partition_point(|choice| choice.up_to <= point);
        self.choices.get(at).map(|choice| (at, choice))
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Choice> {
        self.choices.get(at)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Choice> {
        self.choices.iter()
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}
