//! Peppers: numbered secrets outside the database, without which its grants cannot be tried.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use snug_store::{Store, StoreError};
use zeroize::Zeroizing;

/// HMAC-SHA-256.
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Why the node cannot use its peppers. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PepperError {
    /// The file cannot be read or made.
    #[error("the pepper file {path} cannot be {verb}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// read or written.
        verb: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a list of peppers.
    #[error("the pepper file {path}, line {line}: expected a number and 32 bytes of base64url")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where.
        line: usize,
    },
    /// The file has no pepper in it.
    #[error(
        "the pepper file {0} holds no pepper; restore it from where it was kept, since the database's passwords need it"
    )]
    Empty(PathBuf),
    /// The database belongs to a pepper that the file does not have.
    #[error(
        "the pepper file {path} does not hold pepper {number} that this database was made with; restore the right file (it is not part of a database backup)"
    )]
    Missing {
        /// Which file.
        path: PathBuf,
        /// Which pepper.
        number: u32,
    },
    /// The file has another secret under the same number.
    #[error(
        "pepper {number} in {path} is not the one this database was made with; restore the right file (it is not part of a database backup)"
    )]
    Different {
        /// Which file.
        path: PathBuf,
        /// Which pepper.
        number: u32,
    },
    /// On a database of many nodes, nobody makes a file in silence.
    #[error(
        "there is no pepper file {path}; make it once with `snug make-pepper {path}`, and give every node the same"
    )]
    NotMade {
        /// Which file.
        path: PathBuf,
    },
    /// The database could not say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The peppers of an installation by number. The newest seals; older ones open.
pub struct Peppers {
    by_number: BTreeMap<u32, Zeroizing<[u8; 32]>>,
}

impl Peppers {
    /// Reads the file, makes it if the database is new and this node's alone, and holds it against the database's check values.
    ///
    /// # Errors
    /// See [`PepperError`]; then the node must not start.
    pub async fn load(path: &Path, store: &Store) -> Result<Self, PepperError> {
        let checks = store.pepper_checks().await?;
        if !path.exists() && checks.is_empty() {
            if store.is_shared() {
                return Err(PepperError::NotMade { path: path.to_owned() });
            }
            write_new(path)?;
        }
        let peppers = Self { by_number: read(path)? };
        peppers.compare(path, &checks)?;
        peppers.note(path, &checks, store).await?;
        Ok(peppers)
    }

    /// Notes those that are not among a database's `checks` yet.
    async fn note(&self, path: &Path, checks: &[(u32, [u8; 32])], store: &Store) -> Result<(), PepperError> {
        let is_new = |number: &u32| !checks.iter().any(|(known, _)| known == number);
        let mut is_changed = false;
        for (number, pepper) in self.by_number.iter().filter(|(number, _)| is_new(number)) {
            store.add_pepper_check(*number, check_value(pepper.as_slice())).await?;
            is_changed = true;
        }
        if is_changed {
            // Another node may have been first since, with another pepper of the same number.
            self.compare(path, &store.pepper_checks().await?)?;
        }
        Ok(())
    }

    /// Makes a file with one new pepper, for its owner alone.
    ///
    /// # Errors
    /// The file is there, or cannot be written.
    pub fn make(path: &Path) -> Result<(), PepperError> {
        write_new(path)
    }

    /// Adds a new pepper to a file, which seals from a node's next start on. Returns its number.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn add(path: &Path) -> Result<u32, PepperError> {
        let fail = |source| PepperError::File { path: path.to_owned(), verb: "written", source };
        let number = Self { by_number: read(path)? }.newest() + 1;
        // At its end and in place: owner and mode stay what they are. An empty line is none.
        let mut file = std::fs::OpenOptions::new().append(true).open(path).map_err(fail)?;
        let line = format!("\n{}", new_line(number).map_err(fail)?.as_str());
        file.write_all(Zeroizing::new(line).as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
        Ok(number)
    }

    /// Reads the file and holds it against a database's check values; changes neither.
    ///
    /// # Errors
    /// See [`PepperError`].
    pub fn examine(path: &Path, checks: &[(u32, [u8; 32])]) -> Result<Self, PepperError> {
        let peppers = Self { by_number: read(path)? };
        peppers.compare(path, checks)?;
        Ok(peppers)
    }

    /// Holds the peppers against a database's check values.
    fn compare(&self, path: &Path, checks: &[(u32, [u8; 32])]) -> Result<(), PepperError> {
        for (number, check) in checks {
            let path = path.to_owned();
            match self.by_number.get(number) {
                None => return Err(PepperError::Missing { path, number: *number }),
                Some(pepper) if check_value(pepper.as_slice()) != *check => {
                    return Err(PepperError::Different { path, number: *number });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The number of the pepper that seals.
    #[must_use]
    pub fn newest(&self) -> u32 {
        *self.by_number.last_key_value().expect("reading refuses a file without peppers").0
    }

    /// The pepper with this number.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&[u8; 32]> {
        self.by_number.get(&number).map(|pepper| &**pepper)
    }

    /// A key for one purpose under the oldest pepper, so that a new pepper does not change it.
    #[must_use]
    pub fn lasting_key(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let (_, oldest) = self.by_number.first_key_value().expect("reading refuses a file without peppers");
        Zeroizing::new(mac(oldest.as_slice(), &[label.as_bytes()]))
    }

    #[cfg(test)]
    pub(super) fn of(peppers: &[(u32, [u8; 32])]) -> Self {
        Self { by_number: peppers.iter().map(|(number, pepper)| (*number, Zeroizing::new(*pepper))).collect() }
    }
}

fn check_value(pepper: &[u8]) -> [u8; 32] {
    mac(pepper, &[b"snug/v1/pepper-check"])
}

/// A line with a new pepper.
fn new_line(number: u32) -> std::io::Result<Zeroizing<String>> {
    let mut pepper = Zeroizing::new([0; 32]);
    getrandom::fill(pepper.as_mut_slice()).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(Zeroizing::new(format!("{number} {}\n", snug_protocol::encode_base64(pepper.as_slice()))))
}

fn write_new(path: &Path) -> Result<(), PepperError> {
    let fail = |source| PepperError::File { path: path.to_owned(), verb: "written", source };
    let line = new_line(1).map_err(fail)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(fail)?;
    let text = format!(
        "# Peppers of this Snug installation: without this file the passwords of its rooms stop working.\n\
         # Keep a copy apart from the database's backups. A new last line is used from the next start on.\n{}",
        line.as_str()
    );
    file.write_all(Zeroizing::new(text).as_bytes()).and_then(|()| file.sync_all()).map_err(fail)
}

fn read(path: &Path) -> Result<BTreeMap<u32, Zeroizing<[u8; 32]>>, PepperError> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|source| PepperError::File {
        path: path.to_owned(),
        verb: "read",
        source,
    })?;
    let mut peppers = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = line.split_once(char::is_whitespace).and_then(|(number, secret)| {
            let secret: [u8; 32] = snug_protocol::decode_base64(secret.trim())?.try_into().ok()?;
            Some((number.parse::<u32>().ok()?, Zeroizing::new(secret)))
        });
        let (number, secret) =
            parsed.ok_or_else(|| PepperError::Malformed { path: path.to_owned(), line: index + 1 })?;
        peppers.insert(number, secret);
    }
    if peppers.is_empty() { Err(PepperError::Empty(path.to_owned())) } else { Ok(peppers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(path: &Path, store: &Store) -> String {
        Peppers::load(path, store).await.err().expect("the pepper is refused").to_string()
    }

    #[tokio::test]
    async fn a_first_start_makes_a_pepper_that_only_its_owner_reads_and_later_starts_keep_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, store) = (folder.path().join("pepper"), Store::memory());
        let first = Peppers::load(&path, &store).await.expect("a new pepper");
        let again = Peppers::load(&path, &store).await.expect("the same pepper");
        assert_eq!(first.get(1), again.get(1));
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&path.metadata().expect("a file").permissions()) & 0o777,
            0o600
        );
    }

    #[tokio::test]
    async fn of_nodes_that_start_together_with_different_peppers_one_starts() {
        let (path, store) = (Path::new("pepper"), Store::memory());
        let (ours, theirs) = (Peppers::of(&[(1, [7; 32])]), Peppers::of(&[(1, [8; 32])]));
        // Both have found the database new.
        theirs.note(path, &[], &store).await.expect("the first one's is noted");
        let refused = ours.note(path, &[], &store).await.expect_err("the second one's is another");
        assert!(matches!(refused, PepperError::Different { number: 1, .. }), "{refused}");
        theirs.note(path, &[], &store).await.expect("a third node has the first one's");
    }

    #[tokio::test]
    async fn a_pepper_is_made_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, store) = (folder.path().join("pepper"), Store::memory());
        Peppers::make(&path).expect("a new file");
        Peppers::load(&path, &store).await.expect("its pepper is used");
        let refused = Peppers::make(&path).expect_err("it is there").to_string();
        assert!(refused.contains("cannot be written"), "{refused}");
    }

    #[tokio::test]
    async fn a_pepper_that_is_added_seals_from_then_on_and_the_older_ones_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, store) = (folder.path().join("pepper"), Store::memory());
        let first = Peppers::load(&path, &store).await.expect("a new pepper");
        // As an editor may leave it.
        let text = std::fs::read_to_string(&path).expect("a file");
        std::fs::write(&path, text.trim_end()).expect("a file");
        assert_eq!(Peppers::add(&path).expect("it is added"), 2);
        assert_eq!(Peppers::add(&path).expect("it is added"), 3);
        let peppers = Peppers::load(&path, &store).await.expect("the same pepper, and new ones");
        assert_eq!(peppers.newest(), 3);
        assert_eq!(peppers.get(1), first.get(1));
        assert_ne!(peppers.get(2), peppers.get(3));
        assert!(Peppers::add(&folder.path().join("none")).is_err(), "there is nothing to add it to");
    }

    #[tokio::test]
    async fn an_examination_finds_what_a_start_would_and_makes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, store) = (folder.path().join("pepper"), Store::memory());
        assert!(Peppers::examine(&path, &[]).is_err() && !path.exists());
        Peppers::load(&path, &store).await.expect("a new pepper");
        let checks = store.pepper_checks().await.expect("a store");
        assert_eq!(Peppers::examine(&path, &checks).expect("it fits").newest(), 1);
        assert!(Peppers::examine(&path, &[(1, [0; 32])]).is_err());
    }

    #[tokio::test]
    async fn a_database_refuses_a_pepper_it_was_not_made_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, store) = (folder.path().join("pepper"), Store::memory());
        Peppers::load(&path, &store).await.expect("a new pepper");
        std::fs::remove_file(&path).expect("it is there");
        assert!(refused(&path, &store).await.contains("cannot be read"), "a lost pepper is not replaced in silence");
        std::fs::write(&path, format!("1 {}", snug_protocol::encode_base64(&[7; 32]))).expect("a file");
        assert!(refused(&path, &store).await.contains("is not the one"));
        std::fs::write(&path, format!("2 {}", snug_protocol::encode_base64(&[7; 32]))).expect("a file");
        assert!(refused(&path, &store).await.contains("does not hold pepper 1"));
        std::fs::write(&path, "one two three").expect("a file");
        assert!(refused(&path, &store).await.contains("line 1"));
    }
}
