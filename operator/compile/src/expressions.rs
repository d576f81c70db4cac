//! How much memory the regular expressions of all routes may need together.
//!
//! Each by itself is bounded where it is checked; here the sum is. The oldest routes come first; one that does not fit
//! any more is left out whole, and says so. Equal expressions count once, as gateways compile them once.

use std::collections::BTreeSet;

use crds::conditions::Reason;
use gateway_snapshot::{Counts, PathMatch, REGEX_SIZE_LIMIT, REGEX_TOTAL_LIMIT, StringMatch, regex_cost};

use crate::memo::Change;
use crate::problem::Problem;
use crate::route::CompiledRoute;

/// Counts the expressions of what routes are instead of those of what they were.
pub(crate) fn follow(counts: &mut Counts, changes: &[Change]) {
    for (was, is) in changes {
        for text in is.iter().flat_map(|(route, _)| expressions(route)) {
            counts.add(text);
        }
        for text in was.iter().flat_map(|(route, _)| expressions(route)) {
            counts.take(text);
        }
    }
}

/// Whether as many as there are fit, whatever they are: to find out what they cost takes time.
pub(crate) fn all_fit(counts: &Counts) -> bool {
    counts.len() <= REGEX_TOTAL_LIMIT / REGEX_SIZE_LIMIT
}

/// In the place of each route whose expressions do not fit: the same, refused, so that nothing of it is served.
pub(crate) fn bound(routes: &[&CompiledRoute]) -> Vec<Option<CompiledRoute>> {
    let mut order: Vec<usize> = (0..routes.len()).collect();
    order.sort_by_cached_key(|index| {
        let route = routes[*index];
        (route.created, route.name.clone(), route.key())
    });
    let mut budget = Budget { taken: BTreeSet::new(), left: REGEX_TOTAL_LIMIT };
    let mut refused: Vec<Option<CompiledRoute>> = routes.iter().map(|_| None).collect();
    for index in order {
        if !budget.take(expressions(routes[index])) {
            let message = format!(
                "its regular expressions, together with those of older routes, need more than {} MiB; use Exact or PathPrefix, or fewer expressions",
                REGEX_TOTAL_LIMIT / (1024 * 1024)
            );
            refused[index] =
                Some(routes[index].refused(Problem { reason: Reason::UnsupportedValue, message }));
        }
    }
    refused
}

/// Different expressions taken so far, and bytes left.
struct Budget {
    taken: BTreeSet<String>,
    left: usize,
}

impl Budget {
    /// Takes all of them or none.
    fn take<'a>(&mut self, expressions: impl Iterator<Item = &'a str>) -> bool {
        let new: BTreeSet<&str> = expressions.filter(|text| !self.taken.contains(*text)).collect();
        let cost: usize = new.iter().map(|text| regex_cost(text)).sum();
        let Some(left) = self.left.checked_sub(cost) else { return false };
        self.left = left;
        self.taken.extend(new.into_iter().map(str::to_owned));
        true
    }
}

/// Expressions of a route that is served somewhere.
fn expressions(route: &CompiledRoute) -> impl Iterator<Item = &str> {
    let served = route.refused.is_none() && route.parents.iter().any(|parent| !parent.listeners.is_empty());
    let rules = route.rules.iter().filter(move |_| served);
    rules.flat_map(|checked| &checked.rule.matches).flat_map(|found| {
        let path = match &found.path {
            PathMatch::Regex(text) => Some(text.as_str()),
            PathMatch::Exact(_) | PathMatch::Prefix(_) => None,
        };
        let headers = found.headers.iter().filter_map(|header| expression(&header.value));
        let query = found.query.iter().filter_map(|parameter| expression(&parameter.value));
        path.into_iter().chain(headers).chain(query)
    })
}

fn expression(value: &StringMatch) -> Option<&str> {
    match value {
        StringMatch::Regex(text) => Some(text),
        StringMatch::Exact(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_once_for_equal_expressions() {
        let one = regex_cost("a+");
        let mut budget = Budget { taken: BTreeSet::new(), left: 2 * one };
        assert!(budget.take(["a+", "a+"].into_iter()));
        assert!(!budget.take(["b+", "c+"].into_iter()), "all or none");
        assert!(budget.take(["b+", "a+"].into_iter()));
        assert!(!budget.take(["c+"].into_iter()));
        assert!(budget.take(["b+"].into_iter()) && budget.left == 0);
    }
}
