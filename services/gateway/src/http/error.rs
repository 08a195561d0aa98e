//! The one way from a failure to an HTTP answer.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use snug_protocol::{ErrorBody, ErrorCode};
use snug_store::StoreError;

use crate::auth::{HashError, SignInError, TokenError};
use crate::chat::{ChatError, store_code, wait_body};

/// An answer that says what went wrong. Internal text never gets into it.
#[derive(Debug)]
pub struct ApiError(pub ErrorBody);

impl From<ErrorCode> for ApiError {
    fn from(code: ErrorCode) -> Self {
        Self(code.into())
    }
}

impl From<ErrorBody> for ApiError {
    fn from(body: ErrorBody) -> Self {
        Self(body)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "the store failed a request");
        store_code(&error).into()
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Store(error) => error.into(),
            TokenError::Missing | TokenError::Invalid => error.code().into(),
        }
    }
}

impl From<SignInError> for ApiError {
    fn from(error: SignInError) -> Self {
        error.code().into()
    }
}

impl From<HashError> for ApiError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy => ErrorBody { retry_after_ms: Some(2_000), ..ErrorCode::Unavailable.into() }.into(),
            HashError::PepperMissing | HashError::Damaged => {
                tracing::error!(%error, "a grant cannot be tried");
                ErrorCode::Internal.into()
            }
        }
    }
}

fn body_code(status: StatusCode) -> ErrorCode {
    if status == StatusCode::PAYLOAD_TOO_LARGE { ErrorCode::TooLarge } else { ErrorCode::BadRequest }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        body_code(rejection.status()).into()
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        body_code(rejection.status()).into()
    }
}

impl From<ChatError> for ApiError {
    fn from(error: ChatError) -> Self {
        error.body().into()
    }
}

impl From<PathRejection> for ApiError {
    fn from(_: PathRejection) -> Self {
        ErrorCode::BadRequest.into()
    }
}

impl From<QueryRejection> for ApiError {
    fn from(_: QueryRejection) -> Self {
        ErrorCode::BadRequest.into()
    }
}

/// `too_many…` with how long to wait.
pub fn wait(code: ErrorCode, span: Duration) -> ApiError {
    wait_body(code, span).into()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.0.retry_after_ms.map(|ms| ms.div_ceil(1000));
        let mut response = (status, Json(self.0)).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

pub async fn not_found() -> ApiError {
    ErrorCode::NotFound.into()
}

pub async fn method_not_allowed() -> ApiError {
    ErrorCode::MethodNotAllowed.into()
}

/// A handler's panic is an internal error, not a broken connection. The panic hook has logged it.
pub fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    ApiError::from(ErrorCode::Internal).into_response()
}
