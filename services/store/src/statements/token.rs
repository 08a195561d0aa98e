//! Access tokens, by hash.

use std::sync::LazyLock;
use std::time::Duration;

use snug_protocol::DeviceId;
use tokio_util::task::TaskTracker;

use super::lists::Lists;
use super::{Database, Pool, locks, row, select_now_ms};
use crate::rules::TokenEnds;
use crate::sql::Scope;
use crate::sql::list::Kind::{Bytes, Number};
use crate::sql::list::{Value, stored};
use crate::sql::loader::Loader;
use crate::{StoreError, Token};

static TOKENS: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Number, Bytes], |rows| {
        format!(
            "with asked (number, hash) as ({rows})
             select asked.number, token.device, token.idle_ms, token.expires_at_ms, token.ends_at_ms, {now_ms} as now_ms
             from asked join token on token.hash = asked.hash",
            now_ms = now_ms!()
        )
    })
});

/// A token as it stands, and when that was looked at.
pub(super) struct Stored {
    device: DeviceId,
    ends: TokenEnds,
    now_ms: u64,
}

/// Who wants to know what tokens are worth.
pub(super) type Tokens = Loader<[u8; 32], Option<Stored>>;

pub(super) fn loader(readers: &Pool, tasks: &TaskTracker) -> Tokens {
    let readers = readers.clone();
    Loader::new(tasks, move |hashes| Box::pin(select_tokens(readers.clone(), hashes)))
}

async fn select_tokens(
    readers: Pool,
    hashes: Vec<[u8; 32]>,
) -> Result<Vec<Result<Option<Stored>, StoreError>>, StoreError> {
    let rows: Vec<_> = hashes.iter().enumerate().map(|(at, hash)| [row::place(at), Value::Bytes(hash)]).collect();
    let found = TOKENS.fetch_all(&mut *readers.acquire().await?, &rows).await?;
    row::in_order(hashes.len(), &found, |found| {
        let ends = TokenEnds {
            idle_ms: row::number(found, "idle_ms")?,
            expires_at_ms: row::number(found, "expires_at_ms")?,
            ends_at_ms: row::number(found, "ends_at_ms")?,
        };
        Ok(Stored { device: DeviceId(row::bytes(found, "device")?), ends, now_ms: row::number(found, "now_ms")? })
    })
}

impl Database {
    pub async fn issue_token(
        &self,
        hash: [u8; 32],
        device: DeviceId,
        idle: Duration,
        absolute: Duration,
    ) -> Result<Token, StoreError> {
        const INSERT: &str =
            "insert into token (hash, device, idle_ms, expires_at_ms, ends_at_ms) values ($1, $2, $3, $4, $5)";
        self.writer
            .write(Scope::Elsewhere, move |connection| {
                Box::pin(async move {
                    let ends = TokenEnds::issued(select_now_ms(connection).await?, idle, absolute);
                    sqlx::query(INSERT)
                        .bind(&hash[..])
                        .bind(&device.0[..])
                        .bind(stored(ends.idle_ms))
                        .bind(stored(ends.expires_at_ms))
                        .bind(stored(ends.ends_at_ms))
                        .execute(connection)
                        .await?;
                    Ok(ends.token(device))
                })
            })
            .await
    }

    pub async fn token(&self, hash: [u8; 32]) -> Result<Option<Token>, StoreError> {
        let Some(Stored { device, mut ends, now_ms }) = self.tokens.ask(hash).await? else { return Ok(None) };
        if ends.expires_at_ms <= now_ms {
            return Ok(None);
        }
        if let Some(expires_at_ms) = ends.slide(now_ms) {
            self.slide(hash, expires_at_ms);
            ends.expires_at_ms = expires_at_ms;
        }
        Ok(Some(ends.token(device)))
    }

    /// Notes a use without waiting: whether a token is good must not depend on a busy writer.
    fn slide(&self, hash: [u8; 32], expires_at_ms: u64) {
        const UPDATE: &str = "update token set expires_at_ms = $2 where hash = $1 and expires_at_ms < $2";
        self.writer.write_unless_busy(move |connection| {
            Box::pin(async move {
                sqlx::query(UPDATE).bind(&hash[..]).bind(stored(expires_at_ms)).execute(connection).await?;
                Ok(())
            })
        });
    }

    pub async fn revoke_token(&self, hash: [u8; 32]) -> Result<Option<DeviceId>, StoreError> {
        const DELETE: &str = "delete from token where hash = $1 returning device";
        const RAISE: &str = "update room set access_version = access_version + 1
             where room in (select room from member where device = $1 and state = 1)";
        self.writer
            .write(Scope::Elsewhere, move |connection| {
                Box::pin(async move {
                    let deleted = sqlx::query(DELETE).bind(&hash[..]).fetch_optional(&mut *connection).await?;
                    let Some(deleted) = deleted else { return Ok(None) };
                    let device = DeviceId(row::bytes(&deleted, "device")?);
                    locks::rooms_of(connection, device).await?;
                    sqlx::query(RAISE).bind(&device.0[..]).execute(connection).await?;
                    Ok(Some(device))
                })
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::explain::assert_searches;
    use super::TOKENS;

    #[tokio::test]
    async fn tokens_are_found_by_their_hashes() {
        for text in TOKENS.texts() {
            assert_searches(text).await;
        }
    }
}
