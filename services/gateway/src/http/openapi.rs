//! The OpenAPI document, made from the handlers' own annotations.

use axum::Json;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Snug",
        description = "Private, end-to-end encrypted chat rooms. Live messages travel over the socket at /ws; see PROTOCOL.md and ENCRYPTION.md.",
        license(name = "MIT")
    ),
    paths(
        super::entry::nonce,
        super::entry::lookup,
        super::entry::create,
        super::entry::join,
        super::entry::renew,
        super::entry::revoke,
        super::rooms::list,
        super::rooms::erase,
        super::history::page,
        super::members::list,
        super::members::one,
        super::invites::list,
        super::invites::create,
        super::invites::revoke,
    ),
    components(schemas(snug_protocol::ErrorBody, snug_protocol::ErrorCode, snug_protocol::http::LogPageHead))
)]
struct Document;

pub async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
