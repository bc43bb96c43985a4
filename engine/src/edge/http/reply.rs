//! Answers, and refusals as RFC 9457 problem documents.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

/// An answer, which another shard may have made.
#[derive(Debug, Clone)]
pub struct Reply {
    status: StatusCode,
    fields: Vec<(HeaderName, String)>,
    content_type: &'static str,
    body: String,
}

impl Reply {
    /// Without content.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, fields: Vec::new(), content_type: "", body: String::new() }
    }

    /// With content.
    pub(crate) fn content(status: StatusCode, content_type: &'static str, body: String) -> Self {
        Self { status, fields: Vec::new(), content_type, body }
    }

    /// A refusal. `kind` is what programs tell it by; `detail` says what to do.
    pub(crate) fn problem(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("refused");
        let document = json!({"type": kind, "title": title, "status": status.as_u16(), "detail": detail.into()});
        Self::content(status, "application/problem+json", document.to_string())
    }

    /// 404.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::problem(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// With one more field; one that no field can have is left out.
    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// With another value in a field that it has.
    pub(crate) fn map_field(mut self, name: &HeaderName, change: impl Fn(&str) -> String) -> Self {
        for (_, value) in self.fields.iter_mut().filter(|(known, _)| known == name) {
            *value = change(value);
        }
        self
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        let fields = response.headers_mut();
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if !self.content_type.is_empty() {
            fields.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        }
        for (name, value) in self.fields {
            if let Ok(value) = HeaderValue::try_from(value) {
                fields.append(name, value);
            }
        }
        response
    }
}
