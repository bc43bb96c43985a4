//! Refusals: RFC 9457 problem documents.

use std::time::Instant;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use streams_logs::Seldom;

use crate::Error;
use crate::resources::Refusal;

/// Why a request was refused.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    retry_after_s: Option<u64>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: String) -> Self {
        Self { status, kind, title, detail, retry_after_s: None }
    }

    /// 400: the request itself is wrong.
    pub fn invalid(detail: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", "The request is not valid", detail)
    }

    /// 401: no API key, or not a valid one.
    pub fn unauthorized(detail: String) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "A valid API key is needed", detail)
    }

    /// 403: the caller may not do this.
    pub fn forbidden(detail: String) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "This is not allowed", detail)
    }

    /// 404.
    pub fn not_found(detail: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
    }

    /// 405.
    pub fn method_not_allowed(detail: String) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", detail)
    }

    /// 408: the request did not arrive in time.
    pub fn too_slow(detail: String) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "The request took too long", detail)
    }

    /// 409: the state of the resource forbids it.
    pub fn conflict(detail: String) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "The request cannot be carried out now", detail)
    }

    /// 409: a limit of this installation is reached.
    pub fn limit_reached(detail: String) -> Self {
        Self::new(StatusCode::CONFLICT, "limit_reached", "A limit is reached", detail)
    }

    /// 413.
    pub fn too_large(detail: String) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The request is too large", detail)
    }

    /// 422: an idempotency key that belongs to another request.
    pub fn idempotency_mismatch(detail: String) -> Self {
        let title = "The Idempotency-Key belongs to another request";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_mismatch", title, detail)
    }

    /// 429.
    pub fn too_many_requests(retry_after_s: u64) -> Self {
        let detail = format!("this API key has made too many requests; try again in {retry_after_s} s");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests", detail);
        Self { retry_after_s: Some(retry_after_s), ..problem }
    }

    /// 507 (RFC 4918 §11.5): no space to keep the change.
    pub fn insufficient_storage(detail: String) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", "The disk is full", detail)
    }

    /// 503.
    pub fn unavailable(detail: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now", detail)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => Self::from(refusal),
            Error::Closing => Self::unavailable(error.to_string()),
            Error::PublicKey { .. } => Self::invalid(error.to_string()),
            Error::TableFull { .. } => Self::limit_reached(error.to_string()),
            Error::DiskFull { .. } => {
                log_failure(&error);
                let detail = "the server's disk is full: nothing was changed, and broadcasts go on; its operator has to free \
                              space";
                Self::insufficient_storage(detail.to_owned())
            }
            // What failed inside is for the operator: the caller is told that it is not the request's fault.
            error => {
                log_failure(&error);
                let detail = "the request failed inside the server; its log says why".to_owned();
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Unknown { .. } | Refusal::UnknownSession(_) => Self::not_found(detail),
            Refusal::KeysInForce(_) => Self::limit_reached(detail),
            _ => Self::invalid(detail),
        }
    }
}

/// A machine that is out of something fails every request: its log has room for one line in a while.
fn log_failure(error: &Error) {
    static FAILED: Seldom = Seldom::new();
    if let Some(left_out) = FAILED.pass(Instant::now()) {
        tracing::error!(%error, left_out, "a request failed");
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "type": self.kind,
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
