//! Look-up by hostname, most specific first: exact, then the longest wildcard, then any.
//!
//! In: hostnames of the configuration with a value each. Out: for a host, the values in the order of
//! precedence of Gateway API. Costs one hash probe per label of the asked host, however many are stored.

use std::sync::Arc;

use hashbrown::HashMap;

#[derive(Clone)]
pub(crate) struct HostIndex<T> {
    exact: HashMap<Arc<str>, T>,
    /// By the name behind `*.`.
    wildcard: HashMap<Arc<str>, T>,
    any: Option<T>,
}

impl<T> Default for HostIndex<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new(), any: None }
    }
}

impl<T> HostIndex<T> {
    /// The value of exactly this hostname (`None`: any host), made when there is none yet.
    pub(crate) fn entry(&mut self, hostname: Option<&str>, make: impl FnOnce() -> T) -> &mut T {
        match hostname {
            None => self.any.get_or_insert_with(make),
            Some(name) => match name.strip_prefix("*.") {
                Some(suffix) => self.wildcard.entry(suffix.into()).or_insert_with(make),
                None => self.exact.entry(name.into()).or_insert_with(make),
            },
        }
    }

    /// Values that serve `host`, most specific first. A wildcard stands for one or more labels.
    pub(crate) fn serving<'a>(&'a self, host: Option<&'a str>) -> impl Iterator<Item = &'a T> {
        let exact = host.and_then(|host| self.exact.get(host));
        // A configuration without wildcards never pays for the labels of a hostile host.
        let labelled = host.filter(|_| !self.wildcard.is_empty());
        let suffixes = labelled.into_iter().flat_map(|host| {
            host.bytes().enumerate().filter(|(_, byte)| *byte == b'.').map(move |(at, _)| &host[at + 1..])
        });
        let wildcard = suffixes.filter_map(|suffix| self.wildcard.get(suffix));
        exact.into_iter().chain(wildcard).chain(&self.any)
    }

    /// Hostnames with their values, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (String, &T)> {
        let exact = self.exact.iter().map(|(name, value)| (name.to_string(), value));
        let wildcard = self.wildcard.iter().map(|(name, value)| (format!("*.{name}"), value));
        exact.chain(wildcard).chain(self.any.iter().map(|value| ("*".to_owned(), value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_specific_first() {
        let mut index = HostIndex::default();
        for name in ["a.b.c", "*.b.c", "*.c", "b.c"] {
            index.entry(Some(name), || name);
        }
        index.entry(None, || "*");
        let order = |host| index.serving(host).copied().collect::<Vec<_>>();
        assert_eq!(order(Some("a.b.c")), ["a.b.c", "*.b.c", "*.c", "*"]);
        assert_eq!(order(Some("x.a.b.c")), ["*.b.c", "*.c", "*"]);
        assert_eq!(order(Some("b.c")), ["b.c", "*.c", "*"]);
        assert_eq!(order(Some("c")), ["*"]);
        assert_eq!(order(None), ["*"]);
        assert_eq!(index.iter().count(), 5);
    }
}
