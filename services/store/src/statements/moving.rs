//! Mailboxes for moving to another device.

use snug_protocol::limits::MOVE_LIFE;

use super::{Connection, Database, row, select_now_ms};
use crate::rules::{MOVES_MAX, ms};
use crate::sql::Scope;
use crate::sql::list::stored;
use crate::{MovePart, OfferOutcome, StoreError};

const OFFER: &str = "select offer from move where id = $1 and offered_at_ms > $2";
const NONCE: &str = "select nonce from move where id = $1 and offered_at_ms > $2 and nonce is not null";
const REVEAL: &str = "select reveal from move where id = $1 and offered_at_ms > $2 and reveal is not null";
const ANSWER: &str = "select answer from move where id = $1 and offered_at_ms > $2 and answer is not null";
/// Each part once, upon the one before it.
const PUT_NONCE: &str = "update move set nonce = $2
     where id = $1 and offered_at_ms > $3 and (nonce is null or nonce = $2)";
const PUT_REVEAL: &str = "update move set reveal = $2
     where id = $1 and offered_at_ms > $3 and nonce is not null and (reveal is null or reveal = $2)";
const PUT_ANSWER: &str = "update move set answer = $2
     where id = $1 and offered_at_ms > $3 and reveal is not null and (answer is null or answer = $2)";
const COUNT: &str = "select count(*) from move where offered_at_ms > $1";

/// Over an offer whose time is over, or into an empty place.
const PUT_OFFER: &str = "insert into move (id, offer, offered_at_ms) values ($1, $2, $3)
     on conflict (id) do update set offer = excluded.offer, nonce = null, reveal = null, answer = null,
         offered_at_ms = excluded.offered_at_ms
     where move.offered_at_ms <= $4";

impl Database {
    pub async fn put_offer(&self, id: [u8; 16], offer: &[u8]) -> Result<OfferOutcome, StoreError> {
        let offer = offer.to_vec();
        self.writer
            .write(Scope::Elsewhere, move |connection| {
                let offer = offer.clone();
                Box::pin(async move { put_offer(connection, id, &offer).await })
            })
            .await
    }

    pub async fn offer(&self, id: [u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_move(OFFER, id).await
    }

    pub async fn put_move_part(&self, id: [u8; 16], part: MovePart, bytes: &[u8]) -> Result<bool, StoreError> {
        let (update, bytes) = (put_statement(part), bytes.to_vec());
        self.writer
            .write(Scope::Elsewhere, move |connection| {
                let bytes = bytes.clone();
                Box::pin(async move {
                    let since = select_now_ms(connection).await?.saturating_sub(ms(MOVE_LIFE));
                    let query = sqlx::query(update).bind(&id[..]).bind(bytes).bind(stored(since));
                    Ok(query.execute(connection).await?.rows_affected() > 0)
                })
            })
            .await
    }

    pub async fn move_part(&self, id: [u8; 16], part: MovePart) -> Result<Option<Vec<u8>>, StoreError> {
        let select = match part {
            MovePart::Nonce => NONCE,
            MovePart::Reveal => REVEAL,
            MovePart::Answer => ANSWER,
        };
        self.read_move(select, id).await
    }

    async fn read_move(&self, select: &'static str, id: [u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let since = select_now_ms(&mut connection).await?.saturating_sub(ms(MOVE_LIFE));
        let query = sqlx::query_scalar(select).bind(&id[..]).bind(stored(since));
        Ok(query.fetch_optional(&mut *connection).await?)
    }
}

const fn put_statement(part: MovePart) -> &'static str {
    match part {
        MovePart::Nonce => PUT_NONCE,
        MovePart::Reveal => PUT_REVEAL,
        MovePart::Answer => PUT_ANSWER,
    }
}

async fn put_offer(connection: &mut Connection, id: [u8; 16], offer: &[u8]) -> Result<OfferOutcome, StoreError> {
    let now_ms = select_now_ms(connection).await?;
    let since = stored(now_ms.saturating_sub(ms(MOVE_LIFE)));
    let count: i64 = sqlx::query_scalar(COUNT).bind(since).fetch_one(&mut *connection).await?;
    if count < row::limit(MOVES_MAX) {
        let query = sqlx::query(PUT_OFFER).bind(&id[..]).bind(offer).bind(stored(now_ms)).bind(since);
        if query.execute(&mut *connection).await?.rows_affected() > 0 {
            return Ok(OfferOutcome::Stored);
        }
    }
    let query = sqlx::query_scalar(OFFER).bind(&id[..]).bind(since);
    let there: Option<Vec<u8>> = query.fetch_optional(connection).await?;
    match there {
        Some(there) if there == offer => Ok(OfferOutcome::Stored),
        Some(_) => Ok(OfferOutcome::Taken),
        None => Err(StoreError::unavailable("too many moves are under way")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::explain::assert_searches;
    use super::*;

    #[tokio::test]
    async fn mailboxes_are_found_by_id_and_counted_by_age() {
        for statement in [OFFER, NONCE, REVEAL, ANSWER, PUT_NONCE, PUT_REVEAL, PUT_ANSWER, COUNT, PUT_OFFER] {
            assert_searches(statement).await;
        }
    }
}
