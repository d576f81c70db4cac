//! Filters of a rule or of one of its backends, compiled and sorted by the place where they act.
//!
//! In: filters in the order written. Out: one list of edits per direction, at most one rewrite, mirrors, CORS,
//! and at most one answer of our own (the first redirect or mock).

use bytes::Bytes;
use gateway_snapshot::{BackendRef, DirectResponse, Filter, PathRewrite, Redirect};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::cors::Cors;
use crate::edits::{self, Edits};
use crate::prepare::{BackendId, References};

#[derive(Default)]
pub(crate) struct Filters {
    pub(crate) request: Edits,
    pub(crate) response: Edits,
    pub(crate) rewrite: Option<Box<Rewrite>>,
    pub(crate) mirrors: Vec<Mirror>,
    pub(crate) cors: Option<Box<Cors>>,
    pub(crate) answer: Option<Box<Answer>>,
}

pub(crate) struct Rewrite {
    pub(crate) host: Option<HeaderValue>,
    pub(crate) path: Option<PathRewrite>,
}

pub(crate) enum Answer {
    Redirect(Redirect, StatusCode),
    Direct(Direct),
}

/// A mocked response.
pub(crate) struct Direct {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) struct Mirror {
    /// Nothing: its reference does not resolve, and copies go nowhere.
    pub(crate) backend: Option<BackendId>,
    pub(crate) numerator: u32,
    pub(crate) denominator: u32,
}

impl Filters {
    pub(crate) fn new(filters: &[Filter], references: &References<'_>) -> Result<Self, String> {
        let mut compiled = Self::default();
        for filter in filters {
            match filter {
                Filter::RequestHeaders(edit) => compiled.request.extend(edit)?,
                Filter::ResponseHeaders(edit) => compiled.response.extend(edit)?,
                Filter::Redirect(redirect) => {
                    let status = status(redirect.status)?;
                    compiled
                        .answer
                        .get_or_insert_with(|| Box::new(Answer::Redirect(redirect.clone(), status)));
                }
                Filter::Rewrite(rewrite) => {
                    let host = rewrite.hostname.as_deref().map(edits::value_of).transpose()?;
                    compiled.rewrite = Some(Box::new(Rewrite { host, path: rewrite.path.clone() }));
                }
                Filter::Mirror(mirror) => compiled.mirrors.push(Mirror {
                    backend: backend(&mirror.backend, references),
                    numerator: mirror.numerator,
                    denominator: mirror.denominator,
                }),
                Filter::Cors(cors) => compiled.cors = Some(Box::new(Cors::new(cors))),
                Filter::Direct(direct) => {
                    let direct = Direct::new(direct)?;
                    compiled.answer.get_or_insert_with(|| Box::new(Answer::Direct(direct)));
                }
            }
        }
        Ok(compiled)
    }
}

/// `lint` has checked that keys resolve.
fn backend(found: &BackendRef, references: &References<'_>) -> Option<BackendId> {
    match found {
        BackendRef::To(key) => Some(BackendId(references.backends[key.as_str()])),
        BackendRef::Invalid(_) => None,
    }
}

impl Direct {
    fn new(direct: &DirectResponse) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &direct.headers {
            headers.append(edits::name(name)?, edits::value_of(value)?);
        }
        Ok(Self { status: status(direct.status)?, headers, body: Bytes::from(direct.body.clone()) })
    }
}

fn status(code: u16) -> Result<StatusCode, String> {
    // An informational status cannot end a request.
    StatusCode::from_u16(code)
        .ok()
        .filter(|status| !status.is_informational())
        .ok_or_else(|| format!("status {code} cannot answer a request"))
}
