//! From the text of YAML files to typed resources, as an API server would take them.
//!
//! In: names and texts of files. Out: [`Resources`] and what is wrong, as [`Diagnostic`]s with file, line and
//! column. Documents are told apart first, so that a broken one never hides the others; each object is then
//! checked against the schema of its kind (the CRD's, rules in CEL included), completed by the schema's
//! defaults, and kept with the place where it was written. An object with an error is absent from the result.
//!
//! Reading is total: whatever the bytes, it ends, within the limits in [`limits`], without a panic. It never
//! follows a reference from one object to another; that is the compiler's part.

mod definition;
mod diagnostic;
mod document;
mod kinds;
pub mod limits;
mod locate;
mod object;
mod rules;
mod schema;
mod suggest;
mod tree;
mod validate;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};

pub use diagnostic::{Diagnostic, Severity};
pub use kinds::Resources;

/// Namespace of an object that does not say one.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Where an object was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// As given to [`read`].
    pub file: String,
    /// First line of the object, from 1.
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Namespace and name of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// Empty for kinds without a namespace (GatewayClass, Namespace).
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectName {
    /// A name in a namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// An object with the place where it was written. Its `metadata.namespace` is filled in.
#[derive(Debug, Clone)]
pub struct Object<T> {
    /// Where it was written.
    pub origin: Origin,
    value: T,
    revision: u64,
}

impl<T> Object<T> {
    /// An object written at `origin`.
    pub fn new(origin: Origin, value: T) -> Self {
        Self { origin, value, revision: revision() }
    }

    /// Names this content: copies share it until they are changed. Equal contents may have different ones.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }
}

/// One that no object of this process has had.
fn revision() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Object<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.revision = revision();
        &mut self.value
    }
}

impl<T: PartialEq> PartialEq for Object<T> {
    fn eq(&self, other: &Self) -> bool {
        self.origin == other.origin && self.value == other.value
    }
}

/// Objects of one kind.
pub type Objects<T> = BTreeMap<ObjectName, Object<T>>;

/// Reads files, each given by its name (for messages) and text, in order.
///
/// Of two objects of the same kind and name the first stays. Objects of kinds that we do not know are left out
/// with a warning, or with an error when the kind looks like a slip of the pen.
pub fn read(files: &[(String, String)]) -> (Resources, Vec<Diagnostic>) {
    let mut reader = object::Reader::default();
    for (name, text) in files {
        for document in document::split(name, text, &mut reader.diagnostics) {
            reader.document(&document);
        }
    }
    (reader.resources, reader.diagnostics)
}

#[cfg(test)]
mod tests;
