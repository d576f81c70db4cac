//! Query parameters: read once, checked, and every unknown one refused by name.
//!
//! In: the query string. Out: windows, zones, filters and single values. A misspelt filter must not quietly widen a
//! report, so nothing is ignored.

use std::str::FromStr;

use analytics_query::{Dimension, Filters, Window, Zone};
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use jiff::Timestamp;

use super::Problem;

/// Longest query string.
const MAX_QUERY_BYTES: usize = 8 << 10;

/// Parameters that were not read yet.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if parts.uri.query().is_some_and(|query| query.len() > MAX_QUERY_BYTES) {
            return Err(Problem::bad(format!("the query is longer than {MAX_QUERY_BYTES} bytes")));
        }
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        query.map(|Query(pairs)| Self(pairs)).map_err(|error| Problem::bad(error.body_text()))
    }
}

/// Window, zone and filters, as most questions have them.
#[derive(Debug)]
pub(super) struct Scope {
    pub zone: Zone,
    pub window: Window,
    pub filters: Filters,
}

impl Params {
    /// The value of a parameter that stands at most once.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut found = self.take_all(name);
        match found.len() {
            0 => Ok(None),
            1 => Ok(found.pop()),
            _ => Err(Problem::parameter(name, "stands more than once")),
        }
    }

    /// The value of a parameter as `T`, or `default`.
    pub(super) fn parse<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        name: &str,
        default: T,
    ) -> Result<T, Problem> {
        match self.take(name)? {
            None => Ok(default),
            Some(text) => text.parse().map_err(|error| Problem::parameter(name, error)),
        }
    }

    /// A number from 1 to `most`, or `default`.
    pub(super) fn limit(&mut self, default: u64, most: u64) -> Result<u64, Problem> {
        let limit = self.parse("limit", default)?;
        if (1..=most).contains(&limit) {
            Ok(limit)
        } else {
            Err(Problem::parameter("limit", format!("{limit} is not between 1 and {most}")))
        }
    }

    /// A comma-separated list, or all values of a repeated parameter.
    pub(super) fn list(&mut self, name: &str) -> Option<Vec<String>> {
        let found = self.take_all(name);
        let split = |text: &String| text.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>();
        (!found.is_empty()).then(|| found.iter().flat_map(split).collect())
    }

    /// Dimensions from `by`, each once.
    pub(super) fn by(&mut self, default: &[Dimension]) -> Result<Vec<Dimension>, Problem> {
        let Some(names) = self.list("by") else { return Ok(default.to_vec()) };
        let mut found = Vec::new();
        for name in names.iter().filter(|name| !name.is_empty() && *name != "none") {
            let dimension: Dimension = name.parse().map_err(|error| Problem::parameter("by", error))?;
            if !found.contains(&dimension) {
                found.push(dimension);
            }
        }
        Ok(found)
    }

    /// Window, zone and filters; takes `from`, `to`, `zone` and every dimension's name.
    pub(super) fn scope(&mut self, now: Timestamp, from: &str, to: &str) -> Result<Scope, Problem> {
        let zone = self.take("zone")?.map_or_else(|| Ok(Zone::utc()), |name| Zone::parse(&name));
        let zone = zone.map_err(|error| Problem::parameter("zone", error))?;
        let from = self.take("from")?.unwrap_or_else(|| from.to_owned());
        let to = self.take("to")?.unwrap_or_else(|| to.to_owned());
        let window = Window::parse(&from, &to, &zone, now).map_err(Problem::bad)?;
        let mut filters = Filters::default();
        for dimension in Dimension::ALL {
            for value in self.list(dimension.name()).unwrap_or_default() {
                filters.add(dimension, value).map_err(Problem::bad)?;
            }
        }
        Ok(Scope { zone, window, filters })
    }

    /// Refuses what nobody has asked for.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(40).collect();
                Err(Problem::parameter(&name, "is not known here; see /openapi.json"))
            }
        }
    }

    fn take_all(&mut self, name: &str) -> Vec<String> {
        let (found, rest) = std::mem::take(&mut self.0).into_iter().partition(|(key, _)| key == name);
        self.0 = rest;
        let found: Vec<(String, String)> = found;
        found.into_iter().map(|(_, value)| value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_scope_reads_what_it_knows_and_leaves_the_rest() {
        let now = "2026-11-23T15:00:00Z".parse().unwrap();
        let mut found = params(&[
            ("consumer", "a,b"),
            ("status", "200"),
            ("status", "429"),
            ("zone", "Europe/Berlin"),
            ("typo", "1"),
        ]);
        let scope = found.scope(now, "month", "now").unwrap();
        assert_eq!(scope.filters.of(Dimension::Consumer).unwrap(), ["a", "b"]);
        assert_eq!(scope.filters.of(Dimension::Status).unwrap(), ["200", "429"]);
        assert_eq!(scope.window.from.to_string(), "2026-10-31T23:00:00Z");
        assert!(found.finish().is_err());
    }

    #[test]
    fn mistakes_are_refused() {
        let now = "2026-11-23T15:00:00Z".parse().unwrap();
        assert!(params(&[("from", "x")]).scope(now, "month", "now").is_err());
        assert!(params(&[("zone", "x"), ("zone", "UTC")]).scope(now, "month", "now").is_err());
        assert!(params(&[("limit", "0")]).limit(1, 10).is_err());
        assert!(params(&[("limit", "11")]).limit(1, 10).is_err());
        assert!(params(&[("limit", "-1")]).limit(1, 10).is_err());
        assert!(params(&[("by", "colour")]).by(&[]).is_err());
    }
}
