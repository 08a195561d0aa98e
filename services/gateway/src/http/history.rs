//! Pages of a room's log, as bytes: a head of JSON, then entry frames.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, BytesMut};
use serde::Deserialize;
use snug_protocol::http::LogPageHead;
use snug_protocol::limits::{HISTORY_PAGE_BYTES_MAX, HISTORY_PAGE_DEFAULT, HISTORY_PAGE_MAX};
use snug_protocol::{ErrorCode, RoomId, Seq};
use snug_store::{Page, Store};

use super::error::ApiError;
use super::extract::{Asked, At};
use super::right;
use crate::auth::Authenticated;

/// The page's media type.
pub const LOG_PAGE: &str = "application/vnd.snug.log";

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// The page ends before this seq. Absent: at the head.
    before: Option<u64>,
    /// How many entries at most, 1 to 200.
    limit: Option<usize>,
}

impl HistoryQuery {
    /// Where the page ends, and how many entries it may have.
    ///
    /// # Errors
    /// `bad_request`: out of range.
    pub fn check(&self) -> Result<(Option<Seq>, usize), ErrorCode> {
        let limit = self.limit.unwrap_or(HISTORY_PAGE_DEFAULT);
        if !(1..=HISTORY_PAGE_MAX).contains(&limit) || self.before == Some(0) {
            return Err(ErrorCode::BadRequest);
        }
        Ok((self.before.map(Seq), limit))
    }
}

/// A page of the room's log, ending before `before`.
#[utoipa::path(get, path = "/api/rooms/{room}/history", tag = "rooms",
    params(("room" = RoomId, Path), HistoryQuery),
    responses((status = 200, description = "Records of u32 length and bytes: LogPageHead as JSON, then entry frames.", content_type = "application/vnd.snug.log", body = Vec<u8>)))]
pub async fn page(
    State(store): State<Store>,
    caller: Authenticated,
    At(room): At<RoomId>,
    Asked(query): Asked<HistoryQuery>,
) -> Result<Response, ApiError> {
    let (before, limit) = query.check()?;
    right::role(&store, room, caller.device()).await?;
    let page = store.read_page(room, before, limit, HISTORY_PAGE_BYTES_MAX).await?.ok_or(ErrorCode::NotAMember)?;
    Ok(answer(&page))
}

/// A log page as it crosses the wire; tombstones go as they are.
pub fn answer(page: &Page) -> Response {
    ([(header::CONTENT_TYPE, LOG_PAGE)], Body::from(encode(page).freeze())).into_response()
}

fn encode(page: &Page) -> BytesMut {
    let head = LogPageHead { history: page.history, head: page.head, from: page.from, to: page.to };
    let head = serde_json::to_vec(&head).expect("plain data");
    let frames = page.entries.iter().chain(&page.later).map(|frame| frame.bytes().as_ref());
    let mut out = BytesMut::new();
    for record in std::iter::once(head.as_slice()).chain(frames) {
        out.put_u32(u32::try_from(record.len()).expect("a page is bounded"));
        out.put_slice(record);
    }
    out
}
