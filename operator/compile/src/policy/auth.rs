//! AuthPolicy: where credentials stand, and who may pass.

use crds::auth_policy::{ApiKeySource as RawSource, AuthPolicySpec, Place};
use gateway_snapshot::{ApiKeySource, AuthPolicy};

use crate::check::{self, shown};
use crate::field::{Field, SPEC};
use crate::problem::{InField, Problem};

/// A checked policy.
pub(crate) fn auth(spec: &AuthPolicySpec) -> Result<AuthPolicy, Problem> {
    let list = SPEC.key("apiKey");
    let list = list.key("sources");
    if spec.api_key.sources.is_empty() && !spec.allow_anonymous {
        return Err(Problem::invalid(&list, "is empty, so that nobody could ever pass; name a header"));
    }
    let sources = spec.api_key.sources.iter().enumerate();
    let api_key = sources
        .map(|(index, raw)| source(raw, &list.index(index)).map_err(Problem::into_invalid))
        .collect::<Result<_, _>>()?;
    Ok(AuthPolicy {
        api_key,
        allow_anonymous: spec.allow_anonymous,
        groups: spec.authorize.groups.clone(),
        hide_credentials: spec.hide_credentials,
    })
}

/// The policy that lets nobody pass.
pub(crate) fn nobody() -> AuthPolicy {
    AuthPolicy { api_key: vec![], allow_anonymous: false, groups: vec![], hide_credentials: true }
}

fn source(raw: &RawSource, field: &Field<'_>) -> Result<ApiKeySource, Problem> {
    let name = field.key("name");
    let token = || {
        // Names of cookies are tokens (RFC 6265), which is what header names are, too.
        check::header_name(&raw.name).at(&name).map(|_| raw.name.clone())
    };
    match raw.place {
        Place::Header => Ok(ApiKeySource::Header {
            name: check::header_name(&raw.name).at(&name)?,
            scheme: raw.scheme.as_deref().map(|text| scheme(text, &field.key("scheme"))).transpose()?,
        }),
        _ if raw.scheme.is_some() => {
            Err(Problem::value(&field.key("scheme"), "is only for type Header; take it out"))
        }
        Place::Query if raw.name.is_empty() => {
            Err(Problem::value(&name, "is empty; name the query parameter"))
        }
        Place::Query => Ok(ApiKeySource::Query { name: raw.name.clone() }),
        Place::Cookie => Ok(ApiKeySource::Cookie { name: token()? }),
    }
}

fn scheme(text: &str, field: &Field<'_>) -> Result<String, Problem> {
    if check::header_name(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err(Problem::value(field, format!("{} is not a scheme such as `Bearer`", shown(text))))
}
