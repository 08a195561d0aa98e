//! What stands before every route: host names, origins, and the headers that keep a page to itself.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use snug_protocol::ErrorCode;

use super::error::ApiError;
use super::extract;
use crate::config::Identity;

/// Scripts only from here, no inline style, Trusted Types for whatever touches the DOM as markup. `wasm-unsafe-eval` is for Argon2id.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
     img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types svelte-trusted-html snug";

const PERMISSIONS_POLICY: &str = "accelerometer=(), autoplay=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), \
     magnetometer=(), microphone=(), midi=(), payment=(), usb=(), xr-spatial-tracking=()";

/// Sets the headers of every answer.
pub async fn security_headers(State(identity): State<Arc<Identity>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &'static str| {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    };
    set("content-security-policy", CONTENT_SECURITY_POLICY);
    set("permissions-policy", PERMISSIONS_POLICY);
    set("x-content-type-options", "nosniff");
    set("referrer-policy", "no-referrer");
    set("cross-origin-opener-policy", "same-origin");
    set("cross-origin-resource-policy", "same-origin");
    if identity.https {
        set("strict-transport-security", "max-age=31536000");
    }
    response
}

/// Answers of the API are nobody's to keep.
pub async fn no_store(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Lets through what is addressed to one of our names and comes from one of our pages, or from no page.
pub async fn host_and_origin(State(identity): State<Arc<Identity>>, request: Request, next: Next) -> Response {
    let host =
        request.uri().authority().map(|authority| authority.as_str()).or_else(|| text(request.headers(), header::HOST));
    if !host.is_some_and(|host| identity.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))) {
        return wrong_host(&request, &identity);
    }
    let upgrade = request.uri().path() == "/ws";
    let acts = upgrade || !matches!(*request.method(), Method::GET | Method::HEAD);
    match text(request.headers(), header::ORIGIN) {
        Some(origin) if !identity.origins.iter().any(|known| known == origin) => {
            ApiError::from(ErrorCode::OriginNotAllowed).into_response()
        }
        None if acts && extract::has_cookie(request.headers(), &identity) => {
            ApiError::from(ErrorCode::OriginNotAllowed).into_response()
        }
        Some(_) | None => next.run(request).await,
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// A person gets a page that says what to do, a program the usual error.
fn wrong_host(request: &Request, identity: &Identity) -> Response {
    let wants_page = text(request.headers(), header::ACCEPT).is_some_and(|accept| accept.contains("text/html"));
    let refusal = ApiError::from(ErrorCode::HostNotAllowed);
    if !wants_page {
        return refusal.into_response();
    }
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Snug is at another address</title>\
         <h1>Snug is at another address</h1><p>This server answers at <a href=\"{url}\">{url}</a>. If you run it and want it \
         to be reached under the name in your address bar, set <code>SNUG_PUBLIC_URL</code> to that address and start it again. Other machines \
         need https: browsers offer the encryption that Snug uses only there.</p></html>",
        url = identity.url
    );
    (axum::http::StatusCode::MISDIRECTED_REQUEST, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page)
        .into_response()
}
