//! The roster's scripts. Each touches one slot. A device's value in a room's hash is a row of tags, one for each term that has it there.

use super::super::script::Script;

/// What several know: the time, and a row of tags without those that begin with a prefix.
macro_rules! with_common {
    ($script:literal) => {
        concat!(
            r"
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function without(tags, prefix)
  local rest = {}
  for i = 1, #tags, 12 do
    local tag = string.sub(tags, i, i + 11)
    if string.sub(tag, 1, #prefix) ~= prefix then rest[#rest + 1] = tag end
  end
  return table.concat(rest)
end
",
            $script
        )
    };
}

/// Keys: leases, graves. Arguments: term, next term, lease in ms, life in ms. A term whose lease is missing has ended: the next begins
/// and the old one's entries are to be buried. Answers whether the lease was there.
pub(super) const RENEW: Script = Script(with_common!(
    r"
local had = redis.call('ZSCORE', KEYS[1], ARGV[1])
if had then
  redis.call('ZADD', KEYS[1], now() + ARGV[3], ARGV[1])
else
  redis.call('ZADD', KEYS[1], now() + ARGV[3], ARGV[2])
  redis.call('ZADD', KEYS[2], now(), ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return had and 1 or 0
"
));

/// Keys: leases, graves. Arguments: term, lease in ms, life in ms. A term that is to have entries has a lease, or a grave from which they
/// will be removed.
pub(super) const ENSURE: Script = Script(with_common!(
    r"
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  redis.call('ZADD', KEYS[2], 'NX', now() + ARGV[2], ARGV[1])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return 0
"
));

/// Key: a term's rooms. Arguments: room, life in ms.
pub(super) const NOTE: Script = Script(
    r"
redis.call('SADD', KEYS[1], ARGV[1])
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
",
);

/// Any key. Argument: life in ms. Answers whether it exists.
pub(super) const TOUCH: Script = Script("return redis.call('PEXPIRE', KEYS[1], ARGV[1])");

/// Key: a room. Arguments: device, tag, life in ms. Answers whether the device came, and how many are there.
pub(super) const ENTER: Script = Script(with_common!(
    r"
local tags = redis.call('HGET', KEYS[1], ARGV[1])
if without(tags or '', ARGV[2]) == (tags or '') then
  redis.call('HSET', KEYS[1], ARGV[1], (tags or '') .. ARGV[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {tags and 0 or 1, redis.call('HLEN', KEYS[1])}
"
));

/// Key: a room. Arguments: device, node. Answers whether the device went, and how many are there.
pub(super) const LEAVE: Script = Script(with_common!(
    r"
local tags, went = redis.call('HGET', KEYS[1], ARGV[1]), 0
if tags then
  local rest = without(tags, ARGV[2])
  if rest == '' then
    went = redis.call('HDEL', KEYS[1], ARGV[1])
  elseif rest ~= tags then
    redis.call('HSET', KEYS[1], ARGV[1], rest)
  end
end
return {went, redis.call('HLEN', KEYS[1])}
"
));

/// Key: a room. Argument: device. Answers whether the device went, and how many are there.
pub(super) const EXPEL: Script = Script(
    r"
local went = redis.call('HDEL', KEYS[1], ARGV[1])
return {went, redis.call('HLEN', KEYS[1])}
",
);

/// Key: a room. Argument: at most so many devices. Answers how many there are, then devices.
pub(super) const HERE: Script = Script(
    r"
local listed = redis.call('HRANDFIELD', KEYS[1], ARGV[1])
table.insert(listed, 1, redis.call('HLEN', KEYS[1]))
return listed
",
);

/// Keys: leases, graves. Arguments: how long the claim holds in ms, at most so many of each. Answers the terms that the caller is to
/// bury: those whose lease has ended, and those that another has not finished with.
pub(super) const CLAIM: Script = Script(with_common!(
    r"
local at, claimed = now(), {}
for _, term in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', at, 'LIMIT', 0, ARGV[2])) do
  redis.call('ZREM', KEYS[1], term)
  redis.call('ZADD', KEYS[2], at, term)
end
for _, term in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', at, 'LIMIT', 0, ARGV[2])) do
  redis.call('ZADD', KEYS[2], at + ARGV[1], term)
  claimed[#claimed + 1] = term
end
return claimed
"
));

/// Keys: leases, graves. Arguments: term, how long the claim holds in ms, life in ms. Claims a term whether or not its lease has ended,
/// or once more.
pub(super) const CLAIM_ONE: Script = Script(with_common!(
    r"
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], now() + ARGV[2], ARGV[1])
return redis.call('PEXPIRE', KEYS[2], ARGV[3])
"
));

/// Key: graves. Argument: term. It has no entries any more.
pub(super) const BURIED: Script = Script("return redis.call('ZREM', KEYS[1], ARGV[1])");

/// Key: a room. Argument: tag. Answers how many are there, then the devices that went.
pub(super) const BURY: Script = Script(with_common!(
    r"
local gone = {}
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  local rest = without(entries[i + 1], ARGV[1])
  if rest == '' then
    redis.call('HDEL', KEYS[1], entries[i])
    gone[#gone + 1] = entries[i]
  elseif rest ~= entries[i + 1] then
    redis.call('HSET', KEYS[1], entries[i], rest)
  end
end
table.insert(gone, 1, redis.call('HLEN', KEYS[1]))
return gone
"
));

/// Key: a term's rooms. Argument: at most so many. Answers some of them.
pub(super) const SOME_ROOMS: Script = Script("return redis.call('SRANDMEMBER', KEYS[1], ARGV[1])");

/// Key: a term's rooms. Arguments: rooms in which it has no entries.
pub(super) const FORGET: Script = Script("return redis.call('SREM', KEYS[1], unpack(ARGV))");
