//! Differences between snapshots: what a delta carries, with the law `a.apply(a.diff(b)) == b`.

use serde::{Deserialize, Serialize};

use crate::{
    AuthPolicy, Backend, Certificate, Consumer, Entries, Key, Listener, Plan, Product, QuotaPolicy,
    RateLimitPolicy, Route, Settings, Snapshot, Subscription,
};

/// Changes to one map: entries to put and keys to drop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MapDiff<V> {
    #[serde(default = "Entries::default", skip_serializing_if = "Entries::is_empty")]
    put: Entries<V>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    drop: Vec<Key>,
}

impl<V> Default for MapDiff<V> {
    fn default() -> Self {
        Self { put: Entries::default(), drop: Vec::new() }
    }
}

impl<V: PartialEq> MapDiff<V> {
    fn between(from: &Entries<V>, to: &Entries<V>) -> Self {
        let (put, drop) = from.difference(to);
        Self { put, drop }
    }

    fn apply(self, map: &mut Entries<V>) {
        if self.len() == 0 {
            return;
        }
        for key in &self.drop {
            map.remove(key);
        }
        map.extend(self.put);
    }

    fn len(&self) -> usize {
        self.put.len() + self.drop.len()
    }
}

macro_rules! diff_of_maps {
    ($($field:ident: $value:ty),+ $(,)?) => {
        /// What changes from one snapshot to another.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Diff {
            /// Version that it applies to.
            pub from: String,
            /// Version that comes out.
            pub to: String,
            format: u32,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            settings: Option<Settings>,
            $(#[serde(default)] $field: MapDiff<$value>,)+
        }

        impl Diff {
            /// Entries that change.
            pub fn len(&self) -> usize {
                usize::from(self.settings.is_some()) $(+ self.$field.len())+
            }
        }

        impl Snapshot {
            /// The difference that leads from `self` to `to`.
            pub fn diff(&self, to: &Self) -> Diff {
                Diff {
                    from: self.version.clone(),
                    to: to.version.clone(),
                    format: to.format,
                    settings: (self.settings != to.settings).then(|| to.settings.clone()),
                    $($field: MapDiff::between(&self.$field, &to.$field),)+
                }
            }

            /// `self` with `diff` applied.
            #[must_use]
            pub fn apply(mut self, diff: Diff) -> Self {
                self.version = diff.to;
                self.format = diff.format;
                if let Some(settings) = diff.settings {
                    self.settings = settings;
                }
                $(diff.$field.apply(&mut self.$field);)+
                self
            }

            /// Shares with `from` what is equal.
            pub fn adopt(&mut self, from: &Self) {
                $(self.$field.adopt(&from.$field);)+
            }

            /// The hash of each kind's entries.
            pub(crate) fn hashes(&self) -> impl Iterator<Item = u64> {
                [$(self.$field.hash()),+].into_iter()
            }
        }
    };
}

diff_of_maps! {
    listeners: Listener,
    certificates: Certificate,
    routes: Route,
    backends: Backend,
    auth_policies: AuthPolicy,
    rate_limit_policies: RateLimitPolicy,
    quota_policies: QuotaPolicy,
    products: Product,
    plans: Plan,
    consumers: Consumer,
    subscriptions: Subscription,
}

impl Diff {
    /// Whether nothing changes but the version.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
pub(crate) mod tests;
