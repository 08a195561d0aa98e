-- The whole schema of the first release. Times are Unix milliseconds by the database's clock; ids are 16 random bytes.

pragma application_id = 1397642567; -- "SNUG"

-- The peppers this database has been used with, so that a node with another one refuses to start.
create table pepper (
    number integer primary key not null check (number >= 0),
    check_value blob not null check (length(check_value) = 32)
) strict;

create table device (
    device blob primary key not null check (length(device) = 16),
    sign_key blob not null check (length(sign_key) = 32),
    agree_key blob not null check (length(agree_key) = 32)
) strict, without rowid;

-- head is the seq of the newest entry, epoch_seq that of the newest epoch record, chain_seq that of the newest record or step;
-- access_version grows whenever someone loses access. slow_ms and retention_ms: 0 is off. What retention had to erase up to
-- retained_seq is erased.
create table room (
    room blob primary key not null check (length(room) = 16),
    name text not null,
    likeness text not null unique,
    history blob not null check (length(history) = 16),
    head integer not null check (head >= 0),
    epoch integer not null,
    epoch_seq integer not null,
    chain_seq integer not null,
    locked integer not null check (locked in (0, 1)),
    slow_ms integer not null check (slow_ms >= 0),
    retention_ms integer not null check (retention_ms >= 0),
    retained_seq integer not null,
    access_version integer not null,
    created_at_ms integer not null
) strict, without rowid;
create index room_retention on room (room) where retention_ms > 0;

-- kind: 1 password, 2 invite. A room has one password.
create table room_grant (
    room blob not null references room (room) on delete cascade,
    grant_id blob not null check (length(grant_id) = 16),
    kind integer not null check (kind in (1, 2)),
    kdf integer not null,
    verifier blob not null,
    sealed_blob blob not null,
    pepper integer not null,
    made_by blob not null references device (device),
    created_at_ms integer not null,
    expires_at_ms integer,
    uses integer not null check (uses >= 0),
    uses_max integer,
    primary key (room, grant_id)
) strict, without rowid;
create unique index room_grant_password on room_grant (room) where kind = 1;
create index room_grant_expiry on room_grant (expires_at_ms) where expires_at_ms is not null;

-- role: 1 owner, 2 moderator, 3 member; one who left keeps theirs. state: 1 is a member, 2 has left, 3 was removed, 4 is banned: their
-- keys still verify what they wrote; 5 is the recovery device, which is in no list of members, and 6 one in whose
-- place another has come. muted_until_ms 0: not muted.
-- wrote_at_ms: when it last wrote a message while slow mode was on. steps: how many it took in this epoch.
create table member (
    room blob not null references room (room) on delete cascade,
    device blob not null references device (device),
    role integer not null check (role in (1, 2, 3)),
    state integer not null check (state in (1, 2, 3, 4, 5, 6)),
    joined_at_ms integer not null,
    muted_until_ms integer not null default 0,
    wrote_at_ms integer not null default 0,
    steps integer not null default 0,
    profile_seq integer,
    primary key (room, device)
) strict, without rowid;
create index member_device on member (device) where state = 1;

-- The log. kind, device, instance, counter and target_seq repeat the envelope's header, hash is its SHA-256.
-- An entry's row stays as long as its room: of an erased one's envelope the 76 bytes of its header remain, and the newest of a sender's
-- instance says which counter is next. Kinds: 1 epoch record, 2 profile, 3 message, 4 leave, 5 edit, 6 deletion, 7 reaction, 8 step, 9 pin.
-- Entries and epoch_key do not reference the room: a large room is gone in one short commit and erased after it.
create table entry (
    room blob not null,
    seq integer not null check (seq > 0),
    at_ms integer not null,
    kind integer not null,
    device blob not null,
    instance blob not null,
    counter integer not null,
    target_seq integer not null,
    hash blob not null check (length(hash) = 32),
    envelope blob not null,
    primary key (room, seq)
) strict, without rowid;
create index entry_target on entry (room, target_seq) where kind in (5, 6, 7, 9);
create index entry_chain on entry (room, seq) where kind in (1, 8);
create index entry_pin on entry (room, seq) where kind = 9 and length(envelope) > 76;
create unique index entry_identity on entry (room, device, instance, counter);

-- The record that began each epoch, by its envelope's hash.
create table epoch (
    room blob not null references room (room) on delete cascade,
    epoch integer not null,
    record blob not null check (length(record) = 32),
    primary key (room, epoch)
) strict, without rowid;

-- Records whose keys are being staged; one for each author.
create table epoch_staging (
    room blob not null references room (room) on delete cascade,
    author blob not null,
    record blob not null check (length(record) = 32),
    staged_at_ms integer not null,
    primary key (room, author)
) strict, without rowid;
create index epoch_staging_age on epoch_staging (staged_at_ms);

-- Room keys sealed to devices, by the epoch's record: in force if the record is in epoch, staged if not.
create table epoch_key (
    room blob not null,
    record blob not null,
    device blob not null,
    sealed blob not null check (length(sealed) = 80),
    primary key (room, record, device)
) strict, without rowid;

-- What a device wrote before a seq and is being erased.
create table device_erasure (
    room blob not null references room (room) on delete cascade,
    device blob not null,
    before_seq integer not null,
    primary key (room, device)
) strict, without rowid;

-- Mailboxes for moving to another device.
create table move (
    id blob primary key not null check (length(id) = 16),
    offer blob not null,
    nonce blob,
    reveal blob,
    answer blob,
    offered_at_ms integer not null
) strict, without rowid;
create index move_age on move (offered_at_ms);

-- Deleted rooms whose entries are still being erased.
create table erasure (
    room blob primary key not null
) strict, without rowid;

-- Access tokens by SHA-256. expires_at_ms slides with use, never beyond ends_at_ms.
create table token (
    hash blob primary key not null check (length(hash) = 32),
    device blob not null,
    idle_ms integer not null,
    expires_at_ms integer not null,
    ends_at_ms integer not null
) strict, without rowid;
create index token_expiry on token (expires_at_ms);
