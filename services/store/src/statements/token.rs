//! Access tokens, by hash.

use std::time::Duration;

use snug_protocol::DeviceId;

use super::{Database, locks, row, select_now_ms};
use crate::rules::TokenEnds;
use crate::sql::Scope;
use crate::sql::list::stored;
use crate::{StoreError, Token};

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
        const SELECT: &str = concat!(
            "select device, idle_ms, expires_at_ms, ends_at_ms, ",
            now_ms!(),
            " as now_ms from token where hash = $1"
        );
        let found = sqlx::query(SELECT).bind(&hash[..]).fetch_optional(&self.readers).await?;
        let Some(found) = found else { return Ok(None) };
        let now_ms = row::number(&found, "now_ms")?;
        let device = DeviceId(row::bytes(&found, "device")?);
        let mut ends = TokenEnds {
            idle_ms: row::number(&found, "idle_ms")?,
            expires_at_ms: row::number(&found, "expires_at_ms")?,
            ends_at_ms: row::number(&found, "ends_at_ms")?,
        };
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
