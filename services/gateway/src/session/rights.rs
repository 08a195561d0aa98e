//! Whether a session may go on: asked when something may have changed, and every few minutes.

use snug_protocol::frame::{ServerFrame, close};
use snug_protocol::{ErrorCode, RoomId};
use snug_store::Store;
use tokio::time::Instant;

use super::{Ending, Session, Subscription, TOKEN_CHECK_PERIOD, TOKEN_RETRY};
use crate::auth::{TokenError, right};
use crate::room::News;

/// What a device that has lost its right is told: a room that is gone has no members, whoever they were.
async fn why_closed(store: &Store, room: RoomId, code: ErrorCode) -> ErrorCode {
    match store.room(room).await {
        Ok(None) => ErrorCode::RoomDeleted,
        Ok(Some(_)) | Err(_) => code,
    }
}

impl Session {
    /// What was told besides grown logs.
    pub(super) async fn look_around(&mut self, news: News) -> Result<(), Ending> {
        if news.has(News::MOVE) {
            let within_ms = self.parts.table.closes_in().as_millis();
            self.replies.push(ServerFrame::Move { within_ms: u64::try_from(within_ms).expect("seconds") });
        }
        if news.has(News::TOKEN) {
            self.check_token().await?;
        }
        if news.has(News::ACCESS) {
            self.recheck_access().await?;
        }
        Ok(())
    }

    async fn recheck_access(&mut self) -> Result<(), Ending> {
        let asked = |one: &Subscription| Some((one.room(), one.following.follower().question()?));
        let questioned: Vec<(RoomId, u64)> = self.subscriptions.iter().filter_map(asked).collect();
        let is_questioned = |one: &Subscription| questioned.iter().any(|(room, _)| *room == one.room());
        if self.subscriptions.iter().any(|one| is_questioned(one) && one.following.room().is_replaced()) {
            // The client comes again with its cursor, and is told what that is worth in the other log.
            return Err(Ending::of(close::RESTART, ErrorCode::Unavailable));
        }
        if !questioned.is_empty() {
            // A version that grew may stand for a revoked token as well.
            self.check_token().await?;
        }
        for (room, question) in questioned {
            match self.parts.store.standing(room, self.caller.device()).await.map(right) {
                Ok(Ok(_)) => {
                    if let Some(subscription) = self.subscription(room) {
                        subscription.following.follower().may_stay(question);
                    }
                }
                Ok(Err(code)) => {
                    let code = why_closed(&self.parts.store, room, code).await;
                    self.close_room(room, code);
                }
                Err(error) => {
                    tracing::warn!(%error, "could not recheck access; trying again in a moment");
                    self.parts.tell_later(&self.wake, News::ACCESS);
                }
            }
        }
        Ok(())
    }

    fn close_room(&mut self, room: RoomId, code: ErrorCode) {
        self.unsubscribe(room);
        // Once more: this session may have entered just after the removal was told.
        self.parts.presence.expel(room, self.caller.device());
        self.replies.push(ServerFrame::RoomClosed { room, code });
    }

    pub(super) async fn check_token(&mut self) -> Result<(), Ending> {
        self.next_token_check = Instant::now() + TOKEN_CHECK_PERIOD;
        match Box::pin(self.parts.tokens.recheck(&self.caller)).await {
            Err(TokenError::Invalid | TokenError::Missing) => Err(Ending::of(close::TOKEN, ErrorCode::TokenInvalid)),
            Ok(()) => Ok(()),
            Err(TokenError::Store(_)) => {
                // A database that is away ends nobody's session, but what was asked has not been answered.
                self.next_token_check = Instant::now() + TOKEN_RETRY;
                Ok(())
            }
        }
    }
}
