//! The browser client, embedded in the binary.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};
use snug_protocol::ErrorCode;

use super::error::ApiError;

#[derive(RustEmbed)]
#[folder = "../web/dist"]
struct Web;

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Snug</title><h1>The browser client is not built</h1>\
     <p>Run <code>make web</code>, then build <code>snug</code> again. The API works.</p></html>";

pub async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if !matches!(method, Method::GET | Method::HEAD) {
        return ApiError::from(ErrorCode::MethodNotAllowed).into_response();
    }
    let path = uri.path().trim_start_matches('/');
    if let Some(file) = Web::get(path).filter(|_| !path.is_empty()) {
        return answer(path, &file, &headers);
    }
    // Anything without a file's ending is a place inside the page.
    if path.rsplit('/').next().is_some_and(|last| last.contains('.')) {
        return ApiError::from(ErrorCode::NotFound).into_response();
    }
    match Web::get("index.html") {
        Some(file) => answer("index.html", &file, &headers),
        None => (StatusCode::SERVICE_UNAVAILABLE, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], NOT_BUILT)
            .into_response(),
    }
}

fn answer(path: &str, file: &EmbeddedFile, request: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", snug_protocol::encode_base64(&file.metadata.sha256_hash()[..16]));
    // Names under assets/ carry a hash of the content.
    let cache = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let kind = if kind.type_() == "text" || kind.subtype() == "javascript" {
        format!("{kind}; charset=utf-8")
    } else {
        kind.to_string()
    };
    let fresh = request
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes().windows(tag.len()).any(|part| part == tag.as_bytes()));
    let body = if fresh { Body::empty() } else { Body::from(file.data.clone().into_owned()) };
    let mut response = Response::new(body);
    *response.status_mut() = if fresh { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    for (name, value) in [(header::ETAG, tag), (header::CONTENT_TYPE, kind)] {
        headers.insert(name, HeaderValue::try_from(value).expect("ASCII"));
    }
    response
}
