//! Token buckets of all nodes: a hash per subject, charged by one script on Redis's clock.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::link::Link;
use super::script::Script;
use crate::{BusError, SharedBucket, SharedLimits};

/// The longest that a bucket is kept, and that anyone is told to wait.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);

/// What both scripts know: how much is in a bucket now. A bucket that is not kept is full.
macro_rules! with_level {
    ($script:literal) => {
        concat!(
            r"
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local life_max = tonumber(ARGV[1])
local function level(name, burst, rate)
  local kept = redis.call('HGET', KEYS[1], name)
  if not kept then return burst, false end
  local had, at = string.match(kept, '^(%S+) (%S+)$')
  return math.min(burst, tonumber(had) + math.max(0, now - tonumber(at)) * rate / 1000), true
end
local function keep(name, tokens)
  redis.call('HSET', KEYS[1], name, string.format('%.9g %.3f', tokens, now))
end
",
            $script
        )
    };
}

/// Answers 0 when all were charged, else the milliseconds until they could be. The sum of times and rates is not exact, hence the
/// millionth.
pub(super) const CHARGE: Script = Script(with_level!(
    r"
local wait, life, left = 0, 1, {}
for i = 2, #ARGV, 3 do
  local burst, rate = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local tokens = level(ARGV[i], burst, rate)
  if tokens < 0.999999 then wait = math.max(wait, (1 - tokens) * 1000 / rate) end
  left[i] = math.max(0, tokens - 1)
  life = math.max(life, (burst - left[i]) * 1000 / rate)
end
if wait > 0 then return math.ceil(math.min(wait, life_max)) end
for i = 2, #ARGV, 3 do keep(ARGV[i], left[i]) end
redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), math.ceil(math.min(life, life_max))))
return 0
"
));

const REFUND: Script = Script(with_level!(
    r"
for i = 2, #ARGV, 3 do
  local burst, rate = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local tokens, kept = level(ARGV[i], burst, rate)
  if kept then keep(ARGV[i], math.min(burst, tokens + 1)) end
end
return 0
"
));

pub(super) fn arguments(buckets: &[SharedBucket]) -> Vec<Bytes> {
    let life_max = LIFE_MAX.as_millis().to_string();
    let fields = buckets
        .iter()
        .flat_map(|bucket| [bucket.name.clone(), bucket.burst.to_string(), bucket.per_second.to_string()]);
    std::iter::once(life_max).chain(fields).map(Bytes::from).collect()
}

pub(super) struct RedisLimits {
    link: Arc<Link>,
}

impl RedisLimits {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link }
    }
}

#[async_trait]
impl SharedLimits for RedisLimits {
    async fn charge(&self, subject: &str, buckets: &[SharedBucket]) -> Result<Result<(), Duration>, BusError> {
        let wait_ms: u64 = self.link.run(&CHARGE, &[self.link.names.buckets(subject)], &arguments(buckets)).await?;
        Ok(if wait_ms == 0 { Ok(()) } else { Err(Duration::from_millis(wait_ms)) })
    }

    async fn refund(&self, subject: &str, buckets: &[SharedBucket]) -> Result<(), BusError> {
        self.link.run(&REFUND, &[self.link.names.buckets(subject)], &arguments(buckets)).await
    }
}
