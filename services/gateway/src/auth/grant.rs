//! What the database holds of a grant: a verifier and the blob, both useless without the pepper (ENCRYPTION.md section 2).

use std::sync::Arc;
use std::time::{Duration, Instant};

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, Mac};
use sha2::Sha512;
use snug_metrics::{Counter, Counters, Histogram};
use snug_protocol::{GrantId, RoomId};
use snug_store::{Grant, GrantKind, GrantSecret};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::Peppers;
use super::workers::Workers;

/// How long a join waits for a thread before it is told to come again; a page waits longer for an answer.
const HASH_WAIT_LIMIT: Duration = Duration::from_secs(10);
/// How many joins wait for a thread or have one, for each thread: about what one hashes within the limit.
const HASHES_INSIDE_PER_THREAD: usize = 256;
const NONCE_BYTES: usize = 12;

/// Why a grant could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// All threads for it are busy with other joins.
    #[error("too many joins are being checked")]
    Busy,
    /// The row's pepper is not in the file, though the start-up check passed.
    #[error("a grant was sealed with an unknown pepper")]
    PepperMissing,
    /// The blob at rest does not open with the right proof.
    #[error("a grant's blob is damaged in the database")]
    Damaged,
}

/// The outcome of trying a proof on a grant.
pub enum Opened {
    /// The proof is right.
    Right {
        /// The grant's blob, as its maker sealed it.
        blob: Vec<u8>,
        /// The same under the newest pepper, if it was under an older one.
        renewed: Option<GrantSecret>,
    },
    /// The proof is wrong.
    Wrong,
}

snug_metrics::label! {
    /// What became of a proof.
    pub enum Proof("outcome") {
        /// It is right.
        Right = "right",
        /// It is wrong, or for a room or link that is not there.
        Wrong = "wrong",
    }
}

/// What trying passwords and links has cost.
#[derive(Debug)]
pub struct HashCounters {
    /// By outcome.
    pub proofs: Counters<Proof>,
    /// Those that nobody had a thread for.
    pub refused: Counter,
    /// The wait for a thread.
    pub wait: Histogram,
    /// The work on it.
    pub work: Histogram,
}

impl Default for HashCounters {
    fn default() -> Self {
        Self {
            proofs: Counters::default(),
            refused: Counter::new(),
            wait: Histogram::of_seconds(),
            work: Histogram::of_seconds(),
        }
    }
}

/// Makes and tries the secrets of grants, at most as many at once as there are threads for it: each costs tens of milliseconds and 19 MiB.
#[derive(Clone)]
pub struct GrantSecrets {
    peppers: Arc<Peppers>,
    inside: Arc<Semaphore>,
    inside_max: usize,
    workers: Arc<Workers>,
    counters: Arc<HashCounters>,
}

type Derived = Zeroizing<[u8; 64]>;

fn derive(kind: GrantKind, pepper: &[u8; 32], room: RoomId, grant: GrantId, auth: &[u8; 32]) -> Derived {
    let mut salt = [0; 32];
    salt[..16].copy_from_slice(room.as_bytes());
    salt[16..].copy_from_slice(grant.as_bytes());
    let mut out = Zeroizing::new([0; 64]);
    match kind {
        GrantKind::Password => {
            let params = Params::new(19 * 1024, 2, 1, Some(64)).expect("constants in range");
            Argon2::new_with_secret(pepper, Algorithm::Argon2id, Version::V0x13, params)
                .and_then(|argon2| argon2.hash_password_into(auth, &salt, out.as_mut_slice()))
                .expect("lengths are constants in range");
        }
        // 256 random bits need no slow hash.
        GrantKind::Invite => {
            let mut mac =
                <Hmac<Sha512> as hmac::KeyInit>::new_from_slice(pepper).expect("HMAC takes keys of any length");
            mac.update(b"snug/v1/invite");
            mac.update(&salt);
            mac.update(auth);
            out.copy_from_slice(&mac.finalize().into_bytes());
        }
    }
    out
}

fn cipher(derived: &Derived) -> Aes256Gcm {
    Aes256Gcm::new_from_slice(&derived[32..]).expect("32 bytes")
}

fn seal(derived: &Derived, pepper: u32, grant: GrantId, blob: &[u8]) -> GrantSecret {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).expect("the system gives random bytes");
    let sealed =
        cipher(derived).encrypt(&nonce.into(), Payload { msg: blob, aad: grant.as_bytes() }).expect("a blob is small");
    GrantSecret { verifier: derived[..32].to_vec(), sealed_blob: [nonce.as_slice(), &sealed].concat(), pepper }
}

fn unseal(derived: &Derived, grant: GrantId, sealed_blob: &[u8]) -> Result<Vec<u8>, HashError> {
    let (nonce, sealed) = sealed_blob.split_at_checked(NONCE_BYTES).ok_or(HashError::Damaged)?;
    let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| HashError::Damaged)?;
    cipher(derived)
        .decrypt(&nonce.into(), Payload { msg: sealed, aad: grant.as_bytes() })
        .map_err(|_| HashError::Damaged)
}

impl GrantSecrets {
    /// With these peppers.
    #[must_use]
    pub fn new(peppers: Arc<Peppers>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = Arc::new(Workers::start(cores));
        let inside_max = workers.size() * HASHES_INSIDE_PER_THREAD;
        let inside = Arc::new(Semaphore::new(inside_max));
        Self { peppers, inside, inside_max, workers, counters: Arc::default() }
    }

    /// What it has counted.
    #[must_use]
    pub fn counters(&self) -> &HashCounters {
        &self.counters
    }

    /// How many are being hashed.
    #[must_use]
    pub fn running(&self) -> usize {
        self.workers.running()
    }

    /// How many wait for a thread.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let inside = self.inside_max.saturating_sub(self.inside.available_permits());
        inside.saturating_sub(self.running())
    }

    /// Does what a grant of this kind takes: an invite's proof is quickly looked at, and waits for nobody's password.
    async fn work_on<T: Send + 'static>(
        &self,
        kind: GrantKind,
        work: impl Fn(&Peppers) -> T + Send + Sync + 'static,
    ) -> Result<T, HashError> {
        match kind {
            GrantKind::Password => self.on_a_thread(work).await,
            GrantKind::Invite => Ok(work(&self.peppers)),
        }
    }

    /// Runs `work` on a thread for it when one is free. Cancel-safe: work that has begun is finished and thrown away.
    async fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl Fn(&Peppers) -> T + Send + Sync + 'static,
    ) -> Result<T, HashError> {
        let busy = || {
            self.counters.refused.increment();
            HashError::Busy
        };
        let _place = self.inside.try_acquire().map_err(|_| busy())?;
        let came = Instant::now();
        let thread = tokio::time::timeout(HASH_WAIT_LIMIT, self.workers.free()).await.map_err(|_| busy())?;
        self.counters.wait.observe(came.elapsed());
        let (peppers, counters) = (Arc::clone(&self.peppers), Arc::clone(&self.counters));
        let done = thread.run(move || {
            let began = Instant::now();
            let done = work(&peppers);
            counters.work.observe(began.elapsed());
            done
        });
        Ok(done.await)
    }

    /// What to store for a new grant.
    ///
    /// # Errors
    /// `Busy`.
    pub async fn make(
        &self,
        kind: GrantKind,
        room: RoomId,
        grant: GrantId,
        auth: [u8; 32],
        blob: Vec<u8>,
    ) -> Result<GrantSecret, HashError> {
        let auth = Zeroizing::new(auth);
        let work = move |peppers: &Peppers| {
            let number = peppers.newest();
            let pepper = peppers.get(number).expect("the newest is there");
            seal(&derive(kind, pepper, room, grant, &auth), number, grant, &blob)
        };
        self.work_on(kind, work).await
    }

    /// Tries a proof.
    ///
    /// # Errors
    /// `Busy`, or a damaged row.
    pub async fn open(&self, row: Grant, auth: [u8; 32]) -> Result<Opened, HashError> {
        let auth = Zeroizing::new(auth);
        let opened = self.work_on(row.kind, move |peppers| {
            let pepper = peppers.get(row.secret.pepper).ok_or(HashError::PepperMissing)?;
            let derived = derive(row.kind, pepper, row.room, row.grant, &auth);
            if !bool::from(derived[..32].ct_eq(&row.secret.verifier)) {
                return Ok(Opened::Wrong);
            }
            let blob = unseal(&derived, row.grant, &row.secret.sealed_blob)?;
            let newest = peppers.newest();
            let renewed = (newest != row.secret.pepper).then(|| {
                let pepper = peppers.get(newest).expect("the newest is there");
                seal(&derive(row.kind, pepper, row.room, row.grant, &auth), newest, row.grant, &blob)
            });
            Ok(Opened::Right { blob, renewed })
        });
        let opened = opened.await??;
        let proof = if matches!(opened, Opened::Right { .. }) { Proof::Right } else { Proof::Wrong };
        self.counters.proofs.of(proof).increment();
        Ok(opened)
    }

    /// Costs what trying a password costs, for a room that does not exist.
    ///
    /// # Errors
    /// `Busy`.
    pub async fn pretend(&self, room: RoomId, grant: GrantId, auth: [u8; 32]) -> Result<(), HashError> {
        let auth = Zeroizing::new(auth);
        self.on_a_thread(move |peppers| {
            let pepper = peppers.get(peppers.newest()).expect("the newest is there");
            let derived = derive(GrantKind::Password, pepper, room, grant, &auth);
            // Compared, so that the work cannot be optimised away.
            let _ = bool::from(derived[..32].ct_eq(&[0; 32]));
        })
        .await?;
        self.counters.proofs.of(Proof::Wrong).increment();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: GrantKind, secret: GrantSecret) -> Grant {
        Grant {
            room: RoomId([1; 16]),
            grant: GrantId([2; 16]),
            kind,
            kdf: 1,
            secret,
            made_by: snug_protocol::DeviceId([3; 16]),
            created_at_ms: 0,
            expires_at_ms: None,
            expired: false,
            uses: 0,
            uses_max: None,
        }
    }

    #[tokio::test]
    async fn the_right_proof_opens_the_blob_and_a_wrong_one_does_not() {
        let secrets = GrantSecrets::new(Arc::new(Peppers::of(&[(1, [9; 32])])));
        for kind in [GrantKind::Password, GrantKind::Invite] {
            let secret =
                secrets.make(kind, RoomId([1; 16]), GrantId([2; 16]), [4; 32], vec![5; 129]).await.expect("a thread");
            assert!(!secret.sealed_blob.windows(8).any(|window| window == [5; 8]), "the blob is encrypted at rest");
            let right = secrets.open(row(kind, secret.clone()), [4; 32]).await.expect("a thread");
            assert!(matches!(right, Opened::Right { blob, renewed: None } if blob == vec![5; 129]));
            assert!(matches!(secrets.open(row(kind, secret), [6; 32]).await.expect("a thread"), Opened::Wrong));
        }
    }

    #[tokio::test]
    async fn a_right_proof_moves_the_grant_to_the_newest_pepper() {
        let old = GrantSecrets::new(Arc::new(Peppers::of(&[(1, [9; 32])])));
        let new = GrantSecrets::new(Arc::new(Peppers::of(&[(1, [9; 32]), (2, [8; 32])])));
        let secret = old
            .make(GrantKind::Password, RoomId([1; 16]), GrantId([2; 16]), [4; 32], vec![5; 129])
            .await
            .expect("a thread");
        let Opened::Right { renewed: Some(renewed), .. } =
            new.open(row(GrantKind::Password, secret), [4; 32]).await.expect("a thread")
        else {
            panic!("expected a renewed secret");
        };
        assert_eq!(renewed.pepper, 2);
        let again = new.open(row(GrantKind::Password, renewed.clone()), [4; 32]).await.expect("a thread");
        assert!(matches!(again, Opened::Right { renewed: None, .. }));
        assert!(matches!(old.open(row(GrantKind::Password, renewed), [4; 32]).await, Err(HashError::PepperMissing)));
    }
}
