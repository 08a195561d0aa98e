//! A thief: a copy of the whole database, and all that one device ever had. Tries everything on everything until nothing new opens.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use snug_client::crypto::{Device, GrantKeys, RoomKey, Secret, VerifiedRecord, decrypt, open_record, open_room_key};
use snug_protocol::limits::{EPOCH_KEY_BYTES, GRANT_BLOB_BYTES};
use snug_protocol::{Envelope, GrantId, RoomId, Seq};
use sqlx::{Connection, Row, SqliteConnection};

use super::cast::Person;

/// Epochs that a key is tried as.
const EPOCHS: std::ops::Range<u32> = 0..10;

/// Every value of every table that is bytes, and the log by its places.
pub struct Dump {
    pub blobs: Vec<Vec<u8>>,
    pub entries: BTreeMap<Seq, Vec<u8>>,
    /// The files as they lie on the disk.
    pub files: Vec<Vec<u8>>,
}

impl Dump {
    /// Reads the database whose file is at `path`, while it is in use.
    pub async fn of(path: &Path) -> Self {
        let url = format!("sqlite://{}?mode=ro", path.display());
        let mut database = SqliteConnection::connect(&url).await.expect("a database");
        let tables = sqlx::query_scalar::<_, String>("select name from sqlite_master where type = 'table'");
        let tables = tables.fetch_all(&mut database).await.expect("a schema");
        let mut blobs = Vec::new();
        for table in tables {
            let all = sqlx::AssertSqlSafe(format!("select * from \"{table}\""));
            for row in sqlx::query(all).fetch_all(&mut database).await.expect("readable") {
                blobs.extend((0..row.len()).filter_map(|at| row.try_get::<Vec<u8>, _>(at).ok()));
            }
        }
        let rows = sqlx::query_as::<_, (i64, Vec<u8>)>("select seq, envelope from entry");
        let entries = rows.fetch_all(&mut database).await.expect("readable").into_iter();
        let entries = entries.map(|(seq, envelope)| (Seq(u64::try_from(seq).expect("positive")), envelope)).collect();
        let folder = std::fs::read_dir(path.parent().expect("a folder")).expect("a folder");
        let files = folder.map(|file| std::fs::read(file.expect("a file").path()).expect("readable"));
        Self { blobs, entries, files: files.collect() }
    }

    /// Whether these bytes lie anywhere in the files.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        self.files.iter().any(|file| file.windows(bytes.len()).any(|window| window == bytes))
    }
}

/// All that a thief has.
pub struct Thief {
    pub room: RoomId,
    pub device: Device,
    /// Room keys, as bytes: each is tried as that of every epoch.
    pub keys: HashSet<[u8; 32]>,
    pub passwords: Vec<String>,
    /// Secrets of invites.
    pub secrets: Vec<Secret>,
    /// Grants and their blobs, as the server has them for a moment when they are made.
    pub grants: Vec<(GrantId, Vec<u8>)>,
}

impl Thief {
    /// A thief with nothing but this one's device.
    pub fn of(person: &Person) -> Self {
        Self {
            room: person.room.id(),
            device: Device::import(&person.device()),
            keys: HashSet::new(),
            passwords: Vec::new(),
            secrets: Vec::new(),
            grants: Vec::new(),
        }
    }

    fn room_keys(&self) -> impl Iterator<Item = RoomKey> + '_ {
        self.keys.iter().flat_map(|key| EPOCHS.map(|epoch| RoomKey::import(self.room, epoch, (*key).into())))
    }

    /// The places of all entries that can be opened.
    pub fn opens(mut self, dump: &Dump) -> Vec<Seq> {
        self.open_grants();
        let sealed = dump.blobs.iter().filter(|blob| blob.len() == EPOCH_KEY_BYTES);
        let unsealed = sealed
            .flat_map(|sealed| EPOCHS.filter_map(|epoch| open_room_key(&self.device, self.room, epoch, sealed).ok()));
        let unsealed: Vec<[u8; 32]> = unsealed.map(|key| *key.export()).collect();
        self.keys.extend(unsealed);
        loop {
            let records = dump.blobs.iter().flat_map(|blob| {
                self.room_keys().filter_map(|key| previous(&key, &open_record(&key, blob.clone().into()).ok()?))
            });
            let found: Vec<[u8; 32]> = records.filter(|key| !self.keys.contains(key)).collect();
            if found.is_empty() {
                break;
            }
            self.keys.extend(found);
        }
        let keys: Vec<RoomKey> = self.room_keys().collect();
        let opens = |envelope: &[u8]| {
            let envelope = Envelope::parse(envelope.to_vec().into()).expect("nothing was erased");
            keys.iter().any(|key| decrypt(key, &envelope).is_ok())
        };
        dump.entries.iter().filter(|(_, envelope)| opens(envelope)).map(|(seq, _)| *seq).collect()
    }

    fn open_grants(&mut self) {
        for (grant, blob) in std::mem::take(&mut self.grants) {
            assert_eq!(blob.len(), GRANT_BLOB_BYTES);
            let typed = self.passwords.iter();
            let typed = typed.map(|password| Secret::of_password(password, self.room, grant).expect("a password"));
            for secret in typed.chain(self.secrets.iter().cloned()) {
                if let Ok(content) = GrantKeys::derive(&secret, self.room, grant).open(&blob) {
                    self.keys.insert(*content.room_key.export());
                }
            }
        }
    }
}

fn previous(key: &RoomKey, record: &VerifiedRecord) -> Option<[u8; 32]> {
    Some(*record.previous_key(key)?.export())
}
