//! Who is calling, and bodies that answer with our errors.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRef, FromRequest, FromRequestParts, Json, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::error::ApiError;
use crate::auth::{Authenticated, Tokens};
use crate::config::Identity;

/// The access token of a request: bearer first, for programs; else the cookie.
pub fn token<'a>(headers: &'a HeaderMap, identity: &Identity) -> Option<&'a str> {
    bearer(headers).or_else(|| cookie(headers, &identity.cookie))
}

/// Whether the request carries our cookie, which a page of another origin could make a browser send.
pub fn has_cookie(headers: &HeaderMap, identity: &Identity) -> bool {
    cookie(headers, &identity.cookie).is_some()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

impl<S> FromRequestParts<S> for Authenticated
where
    S: Send + Sync,
    Tokens: FromRef<S>,
    Arc<Identity>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let identity = Arc::<Identity>::from_ref(state);
        Ok(Tokens::from_ref(state).authenticate(token(&parts.headers, &identity)).await?)
    }
}

/// A JSON body; anything else is `bad_request`.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Ok(Self(Json::<T>::from_request(request, state).await?.0))
    }
}

/// A body of bytes; one that is too large is `too_large`.
pub struct Raw(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Ok(Self(Bytes::from_request(request, state).await?))
    }
}

/// Parts of the path; a malformed id is `bad_request`.
pub struct At<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(Path::<T>::from_request_parts(parts, state).await?.0))
    }
}

/// The query string; a malformed value is `bad_request`.
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(Query::<T>::from_request_parts(parts, state).await?.0))
    }
}
