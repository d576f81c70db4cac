//! Objects by kind and name.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::resources::ObjectName;

/// Which object a status or message is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Kind, such as `HTTPRoute`.
    pub kind: &'static str,
    /// Namespace and name.
    pub name: ObjectName,
}

impl ObjectRef {
    /// The object of `kind` with `name`.
    pub(crate) fn new(kind: &'static str, name: &ObjectName) -> Self {
        Self { kind, name: name.clone() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

impl Serialize for ObjectRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
