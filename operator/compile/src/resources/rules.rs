//! Rules in CEL (`x-kubernetes-validations`), evaluated as an API server does when an object is created.

use kube_cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use serde_json::Value;

use super::locate::Path;
use super::validate::Finding;

/// The functions that rules may call; costly to make, so that one serves for many objects.
pub(super) struct Evaluator(Validator);

impl Default for Evaluator {
    fn default() -> Self {
        Self(Validator::new())
    }
}

/// The compiled rules of a schema.
pub(super) struct Rules(CompiledSchema);

impl Rules {
    /// The rules of a schema. Rules that cannot be compiled are left out; [`Self::unsupported`] lists them.
    pub(super) fn new(schema: &Value) -> Self {
        Self(compile_schema(schema))
    }

    /// Rules that are written in a way that we cannot evaluate.
    #[cfg(test)]
    pub(super) fn unsupported(&self) -> Vec<String> {
        fn collect(schema: &CompiledSchema, found: &mut Vec<String>) {
            found.extend(schema.compilation_errors().iter().map(ToString::to_string));
            let inner = schema.properties.values().chain(schema.items.as_deref());
            inner.chain(schema.additional_properties.as_deref()).for_each(|inner| collect(inner, found));
        }
        let mut found = Vec::new();
        collect(&self.0, &mut found);
        found
    }

    /// The rules that an object breaks. It must have passed its schema, so that its size is bounded.
    pub(super) fn broken(&self, evaluator: &Evaluator, object: &Value) -> Vec<Finding> {
        let Err(errors) = evaluator.0.validate_compiled(&self.0, object, None) else {
            return Vec::new();
        };
        errors
            .into_vec()
            .into_iter()
            .filter(|error| matches!(error.kind, ErrorKind::ValidationFailure | ErrorKind::EvaluationError))
            .map(|error| Finding {
                path: Path::parse(&error.field_path),
                problem: error.message,
                cure: String::new(),
            })
            .collect()
    }
}
