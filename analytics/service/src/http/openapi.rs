//! `GET /openapi.json`: the API said by itself.
//!
//! The document is made from the handlers, and `docs/reference/openapi.json` is compared with it by a test.

use axum::Json;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(title = "Turnpike analytics", description = "Usage, quotas, alerts and pipeline health. Times are RFC 3339; counts are exact; money is decimal text. Reports and traffic also take every dimension as a filter (`consumer=shop/alice&status=429`), repeated or comma separated."),
    paths(
        super::usage::get, super::traffic::series, super::traffic::top, super::consumers::list, super::consumers::one,
        super::quotas::list, super::records::list, super::records::one, super::pipeline::get, super::alerts::list,
        super::live::get, super::spool::put, super::spool::marks, super::spool::heartbeat, super::spool::status, super::spool::give_up,
        super::quotas::batch, super::health::alive, super::health::ready, super::metrics::get,
    ),
    modifiers(&Bearer),
    security(("token" = []))
)]
struct Api;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// The document.
pub(crate) fn document() -> Document {
    Api::openapi()
}

/// Answers the document.
pub(super) async fn get() -> Json<Document> {
    Json(document())
}

#[cfg(test)]
mod tests {
    /// Update with `UPDATE_GENERATED=1`.
    #[test]
    fn the_reference_is_generated() {
        let expected = super::document().to_pretty_json().unwrap() + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::write(path, &expected).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == expected,
            "docs/reference/openapi.json is not up to date: run with UPDATE_GENERATED=1"
        );
    }
}
