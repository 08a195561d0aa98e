//! Mailboxes for moving to another device.

use snug_protocol::limits::MOVE_LIFE;

use super::{Sqlite, row, select_now_ms};
use crate::rules::{MOVES_MAX, ms};
use crate::{OfferOutcome, StoreError};

const OFFER: &str = "select offer from move where id = $1 and offered_at_ms > $2";
const ANSWER: &str = "select answer from move where id = $1 and offered_at_ms > $2 and answer is not null";
const COUNT: &str = "select count(*) from move where offered_at_ms > $1";

impl Sqlite {
    pub async fn put_offer(&self, id: [u8; 16], offer: &[u8]) -> Result<OfferOutcome, StoreError> {
        const UPSERT: &str = "insert into move (id, offer, offered_at_ms) values ($1, $2, $3)
             on conflict (id) do update set offer = excluded.offer, answer = null, offered_at_ms = excluded.offered_at_ms";
        let offer = offer.to_vec();
        self.writer
            .write(move |connection| {
                Box::pin(async move {
                    let now_ms = select_now_ms(connection).await?;
                    let since = row::stored(now_ms.saturating_sub(ms(MOVE_LIFE)));
                    let query = sqlx::query_scalar(OFFER).bind(&id[..]).bind(since);
                    let there: Option<Vec<u8>> = query.fetch_optional(&mut *connection).await?;
                    if let Some(there) = there {
                        return Ok(if there == offer { OfferOutcome::Stored } else { OfferOutcome::Taken });
                    }
                    let count: i64 = sqlx::query_scalar(COUNT).bind(since).fetch_one(&mut *connection).await?;
                    if count >= row::limit(MOVES_MAX) {
                        return Err(StoreError::unavailable("too many moves are under way"));
                    }
                    let query = sqlx::query(UPSERT).bind(&id[..]).bind(offer).bind(row::stored(now_ms));
                    query.execute(connection).await?;
                    Ok(OfferOutcome::Stored)
                })
            })
            .await
    }

    pub async fn offer(&self, id: [u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_move(OFFER, id).await
    }

    pub async fn put_answer(&self, id: [u8; 16], answer: &[u8]) -> Result<bool, StoreError> {
        const UPDATE: &str = "update move set answer = $2
             where id = $1 and offered_at_ms > $3 and (answer is null or answer = $2)";
        let answer = answer.to_vec();
        self.writer
            .write(move |connection| {
                Box::pin(async move {
                    let since = select_now_ms(connection).await?.saturating_sub(ms(MOVE_LIFE));
                    let query = sqlx::query(UPDATE).bind(&id[..]).bind(answer).bind(row::stored(since));
                    Ok(query.execute(connection).await?.rows_affected() > 0)
                })
            })
            .await
    }

    pub async fn answer(&self, id: [u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_move(ANSWER, id).await
    }

    async fn read_move(&self, select: &'static str, id: [u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let since = select_now_ms(&mut connection).await?.saturating_sub(ms(MOVE_LIFE));
        let query = sqlx::query_scalar(select).bind(&id[..]).bind(row::stored(since));
        Ok(query.fetch_optional(&mut *connection).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::open::tests::assert_searches;
    use super::*;

    #[tokio::test]
    async fn mailboxes_are_found_by_id_and_counted_by_age() {
        for statement in [OFFER, ANSWER, COUNT] {
            assert_searches(statement).await;
        }
    }
}
