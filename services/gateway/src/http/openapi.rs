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
        super::create::create,
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
        super::chain::chain,
        super::chain::pins,
        super::steps::take,
        super::epochs::stage,
        super::epochs::keys,
        super::epochs::begin,
        super::moves::put_offer,
        super::moves::offer,
        super::moves::put_nonce,
        super::moves::nonce,
        super::moves::put_reveal,
        super::moves::reveal,
        super::moves::put_answer,
        super::moves::answer,
    ),
    components(schemas(snug_protocol::ErrorBody, snug_protocol::ErrorCode, snug_protocol::http::LogPageHead))
)]
struct Document;

pub async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
