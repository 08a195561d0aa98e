-- The whole schema of the first release: that of migrations/sqlite, in Postgres's types. Times are Unix milliseconds by the database's
-- clock; ids are 16 random bytes.

-- Whose database this is, and what may use it: a version of Snug that knows fewer migrations than oldest_reader is refused. A migration
-- that old versions cannot live with raises it; all others only add, so that a node of today runs on tomorrow's schema.
create table snug (
    only_row boolean primary key default true check (only_row),
    oldest_reader bigint not null
);
insert into snug (oldest_reader) values (1);

-- The peppers this database has been used with, so that a node with another one refuses to start.
create table pepper (
    number bigint primary key check (number >= 0),
    check_value bytea not null check (length(check_value) = 32)
);

create table device (
    device bytea primary key check (length(device) = 16),
    sign_key bytea not null check (length(sign_key) = 32),
    agree_key bytea not null check (length(agree_key) = 32)
);

-- head is the seq of the newest entry, epoch_seq that of the newest epoch record, chain_seq that of the newest record or step;
-- access_version grows whenever someone loses access. slow_ms and retention_ms: 0 is off. What retention had to erase up to
-- retained_seq is erased. Names are compared by their bytes. A room's row changes with every commit: it gets space to do so in place.
create table room (
    room bytea primary key check (length(room) = 16),
    name text collate "C" not null,
    likeness text collate "C" not null constraint room_likeness_key unique,
    history bytea not null check (length(history) = 16),
    head bigint not null check (head >= 0),
    epoch bigint not null,
    epoch_seq bigint not null,
    chain_seq bigint not null,
    locked boolean not null,
    slow_ms bigint not null check (slow_ms >= 0),
    retention_ms bigint not null check (retention_ms >= 0),
    retained_seq bigint not null,
    access_version bigint not null,
    created_at_ms bigint not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
create index room_retention on room (room) where retention_ms > 0;

-- kind: 1 password, 2 invite. A room has one password.
create table room_grant (
    room bytea not null references room (room) on delete cascade,
    grant_id bytea not null check (length(grant_id) = 16),
    kind bigint not null check (kind in (1, 2)),
    kdf bigint not null,
    verifier bytea not null,
    sealed_blob bytea not null,
    pepper bigint not null,
    made_by bytea not null references device (device),
    created_at_ms bigint not null,
    expires_at_ms bigint,
    uses bigint not null check (uses >= 0),
    uses_max bigint,
    primary key (room, grant_id)
);
create unique index room_grant_password on room_grant (room) where kind = 1;
create index room_grant_expiry on room_grant (expires_at_ms) where expires_at_ms is not null;

-- role: 1 owner, 2 moderator, 3 member; one who left keeps theirs. state: 1 is a member, 2 has left, 3 was removed, 4 is banned: their
-- keys still verify what they wrote; 5 is the recovery device, which is in no list of members, and 6 one in whose
-- place another has come. muted_until_ms 0: not muted.
-- wrote_at_ms: when it last wrote a message while slow mode was on. steps: how many it took in this epoch.
create table member (
    room bytea not null references room (room) on delete cascade,
    device bytea not null references device (device),
    role bigint not null check (role in (1, 2, 3)),
    state bigint not null check (state in (1, 2, 3, 4, 5, 6)),
    joined_at_ms bigint not null,
    muted_until_ms bigint not null default 0,
    wrote_at_ms bigint not null default 0,
    steps bigint not null default 0,
    profile_seq bigint,
    primary key (room, device)
);
create index member_device on member (device) where state = 1;

-- The log. kind, device, instance, counter and target_seq repeat the envelope's header, hash is its SHA-256.
-- An entry's row stays as long as its room: of an erased one's envelope the 76 bytes of its header remain, and the newest of a sender's
-- instance says which counter is next. Kinds: 1 epoch record, 2 profile, 3 message, 4 leave, 5 edit, 6 deletion, 7 reaction, 8 step, 9 pin.
-- Entries and epoch_key do not reference the room: a large room is gone in one short commit and erased after it.
create table entry (
    room bytea not null,
    seq bigint not null check (seq > 0),
    at_ms bigint not null,
    kind bigint not null,
    device bytea not null,
    instance bytea not null,
    counter bigint not null,
    target_seq bigint not null,
    hash bytea not null check (length(hash) = 32),
    envelope bytea not null,
    primary key (room, seq)
);
-- Ciphertext does not get shorter.
alter table entry alter column envelope set storage external;
create index entry_target on entry (room, target_seq) where kind in (5, 6, 7, 9);
create index entry_chain on entry (room, seq) where kind in (1, 8);
create index entry_pin on entry (room, seq) where kind = 9 and length(envelope) > 76;
create unique index entry_identity on entry (room, device, instance, counter);

-- The record that began each epoch, by its envelope's hash.
create table epoch (
    room bytea not null references room (room) on delete cascade,
    epoch bigint not null,
    record bytea not null check (length(record) = 32),
    primary key (room, epoch)
);

-- Records whose keys are being staged; one for each author.
create table epoch_staging (
    room bytea not null references room (room) on delete cascade,
    author bytea not null,
    record bytea not null check (length(record) = 32),
    staged_at_ms bigint not null,
    primary key (room, author)
);
create index epoch_staging_age on epoch_staging (staged_at_ms);

-- Room keys sealed to devices, by the epoch's record: in force if the record is in epoch, staged if not.
create table epoch_key (
    room bytea not null,
    record bytea not null,
    device bytea not null,
    sealed bytea not null check (length(sealed) = 80),
    primary key (room, record, device)
);

-- What a device wrote before a seq and is being erased.
create table device_erasure (
    room bytea not null references room (room) on delete cascade,
    device bytea not null,
    before_seq bigint not null,
    primary key (room, device)
);

-- Mailboxes for moving to another device.
create table move (
    id bytea primary key check (length(id) = 16),
    offer bytea not null,
    nonce bytea,
    reveal bytea,
    answer bytea,
    offered_at_ms bigint not null
);
create index move_age on move (offered_at_ms);

-- Deleted rooms whose entries are still being erased.
create table erasure (
    room bytea primary key
);

-- Access tokens by SHA-256. expires_at_ms slides with use, never beyond ends_at_ms.
create table token (
    hash bytea primary key check (length(hash) = 32),
    device bytea not null,
    idle_ms bigint not null,
    expires_at_ms bigint not null,
    ends_at_ms bigint not null
);
create index token_expiry on token (expires_at_ms);

-- Chores that one node does for all: whoever moves until_ms on does it, and nobody else before then. Not in SQLite, which has one node.
create table turn (
    chore text primary key,
    until_ms bigint not null
);
