//! Look-up by path among the matches of one hostname.
//!
//! In: match ids with their path conditions. Out: for a path, the ids in order of precedence: exact, then
//! regular expressions (longest pattern first), then prefixes by path elements, longest first. Gateway API
//! leaves the place of regular expressions open; before prefixes, a catch-all `/` does not hide them.
//!
//! A copy shares the texts; a match is put in and taken out in time that does not depend on the others, but for those of
//! the same path. What is left of a path without matches stays until an index is made anew.
//!
//! One hash probe for exact paths and one per element for prefixes, however many routes there are. Regular
//! expressions are tried one by one: their number per hostname is what they cost.

use std::cmp::Ordering;
use std::sync::Arc;

use hashbrown::HashMap;
use regex::Regex;

/// Index into the table of matches.
pub(crate) type MatchId = u32;

/// The path condition of a match, canonical.
pub(crate) enum PathRule {
    Exact(Arc<str>),
    /// Without trailing slash; empty for `/`.
    Prefix(Box<str>),
    Regex(Box<str>, Arc<Regex>),
}

#[derive(Clone)]
pub(crate) struct PathIndex {
    exact: HashMap<Arc<str>, Vec<MatchId>>,
    regexes: Vec<(usize, Arc<Regex>, MatchId)>,
    /// The first is the root: prefix `/`.
    nodes: Vec<Node>,
}

#[derive(Clone, Default)]
struct Node {
    /// The root is its own parent.
    parent: u32,
    children: HashMap<Arc<str>, u32>,
    matches: Vec<MatchId>,
}

impl Default for PathIndex {
    fn default() -> Self {
        Self { exact: HashMap::new(), regexes: Vec::new(), nodes: vec![Node::default()] }
    }
}

impl PathIndex {
    /// Puts a match in. Of two of one path the one that is less by `order` wins.
    pub(crate) fn insert(
        &mut self,
        rule: &PathRule,
        id: MatchId,
        order: impl Fn(MatchId, MatchId) -> Ordering,
    ) {
        match rule {
            PathRule::Exact(path) => put(self.exact.entry(Arc::clone(path)).or_default(), id, order),
            PathRule::Regex(pattern, regex) => {
                let known = |(len, _, known): &(usize, Arc<Regex>, MatchId)| {
                    pattern.len().cmp(len).then_with(|| order(*known, id)).is_lt()
                };
                let at = self.regexes.partition_point(known);
                self.regexes.insert(at, (pattern.len(), Arc::clone(regex), id));
            }
            PathRule::Prefix(prefix) => {
                let node = self.node(prefix);
                put(&mut self.nodes[node as usize].matches, id, order);
            }
        }
    }

    /// Takes out a match that was put in with this rule.
    pub(crate) fn remove(&mut self, rule: &PathRule, id: MatchId) {
        match rule {
            PathRule::Exact(path) => {
                self.exact.get_mut(path).into_iter().for_each(|ids| ids.retain(|known| *known != id));
            }
            PathRule::Regex(..) => self.regexes.retain(|(_, _, known)| *known != id),
            PathRule::Prefix(prefix) => {
                let node = self.node(prefix);
                self.nodes[node as usize].matches.retain(|known| *known != id);
            }
        }
    }

    /// The node of a prefix, made when there is none yet.
    fn node(&mut self, prefix: &str) -> u32 {
        let mut at = 0;
        for element in elements(prefix) {
            if let Some(found) = self.nodes[at as usize].children.get(element) {
                at = *found;
                continue;
            }
            let next = self.nodes.len() as u32;
            self.nodes[at as usize].children.insert(element.into(), next);
            self.nodes.push(Node { parent: at, ..Node::default() });
            at = next;
        }
        at
    }

    /// The first match for `path` of which `holds` is true.
    pub(crate) fn find(&self, path: &str, mut holds: impl FnMut(MatchId) -> bool) -> Option<MatchId> {
        if let Some(matches) = self.exact.get(path)
            && let Some(found) = matches.iter().copied().find(|id| holds(*id))
        {
            return Some(found);
        }
        let mut regexes = self.regexes.iter().filter(|(_, regex, _)| regex.is_match(path));
        if let Some((_, _, found)) = regexes.find(|(_, _, id)| holds(*id)) {
            return Some(*found);
        }
        self.find_prefix(path, holds)
    }

    /// Down to the deepest node that the path reaches, then up again: the longest prefix comes first.
    fn find_prefix(&self, path: &str, mut holds: impl FnMut(MatchId) -> bool) -> Option<MatchId> {
        // `*` of OPTIONS is no path.
        if !path.starts_with('/') {
            return None;
        }
        let mut node = &self.nodes[0];
        for element in elements(path) {
            let Some(child) = node.children.get(element) else { break };
            node = &self.nodes[*child as usize];
        }
        loop {
            if let Some(found) = node.matches.iter().copied().find(|id| holds(*id)) {
                return Some(found);
            }
            let parent = &self.nodes[node.parent as usize];
            if std::ptr::eq(parent, node) {
                return None;
            }
            node = parent;
        }
    }

    /// All matches of this hostname, in no order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = MatchId> {
        let exact = self.exact.values().flatten().copied();
        let regexes = self.regexes.iter().map(|(_, _, id)| *id);
        exact.chain(regexes).chain(self.nodes.iter().flat_map(|node| node.matches.iter().copied()))
    }
}

/// Puts an id where `order` wants it.
fn put(ids: &mut Vec<MatchId>, id: MatchId, order: impl Fn(MatchId, MatchId) -> Ordering) {
    let at = ids.partition_point(|known| order(*known, id).is_lt());
    // Most paths have one match: room for more is kept by those who need it.
    ids.reserve_exact(usize::from(ids.is_empty()));
    ids.insert(at, id);
}

/// `/a/b` has the elements `a` and `b`; the root has none.
fn elements(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').skip(1)
}

impl PathRule {
    /// Whether the path meets the condition; the index finds the same without asking each rule.
    pub(crate) fn takes(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *path,
            Self::Regex(_, regex) => regex.is_match(path),
            Self::Prefix(prefix) => {
                path.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }

    /// How much of a path that it takes a prefix rewrite replaces.
    pub(crate) fn taken<'p>(&self, path: &'p str) -> Option<&'p str> {
        match self {
            Self::Exact(_) => Some(path),
            Self::Prefix(prefix) => path.get(..prefix.len()),
            Self::Regex(..) => None,
        }
    }
}

impl std::fmt::Display for PathRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(path) => write!(f, "path = {path}"),
            Self::Prefix(prefix) if prefix.is_empty() => f.write_str("path prefix /"),
            Self::Prefix(prefix) => write!(f, "path prefix {prefix}"),
            Self::Regex(pattern, _) => write!(f, "path ~ {pattern}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_prefix_by_elements() {
        let mut index = PathIndex::default();
        let prefixes = ["", "/a", "/a/b", "/ab"];
        for (id, prefix) in prefixes.iter().enumerate() {
            index.insert(&PathRule::Prefix((*prefix).into()), id as u32, |a, b| a.cmp(&b));
        }
        index.insert(&PathRule::Exact("/a/b".into()), 4, |a, b| a.cmp(&b));
        let found = |path| index.find(path, |_| true);
        assert_eq!(found("/"), Some(0));
        assert_eq!(found("/a"), Some(1));
        assert_eq!(found("/a/"), Some(1));
        assert_eq!(found("/a/bc"), Some(1));
        assert_eq!(found("/a/b"), Some(4));
        assert_eq!(found("/a/b/"), Some(2));
        assert_eq!(found("/a/b/c/d"), Some(2));
        assert_eq!(found("/abc"), Some(0));
        assert_eq!(found("*"), None);
        assert_eq!(index.find("/a/b", |id| id == 0), Some(0), "falls back to shorter prefixes");
        assert_eq!(index.ids().count(), 5);
    }
}
