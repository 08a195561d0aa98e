//! Not written yet.

use std::path::Path;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::{Durability, OpenError};

/// How to open a SQLite database.
#[derive(Clone, Debug, Default)]
pub struct SqliteOptions {
    /// The largest the database file may become, bytes; `None`: as large as the disk.
    pub bytes_max: Option<u64>,
}

pub(crate) enum Sqlite {}

impl Sqlite {
    #[expect(clippy::unused_async)]
    pub async fn open(path: &Path, _: SqliteOptions, _: &TaskTracker) -> Result<Self, OpenError> {
        let source = Arc::new(std::io::Error::from(std::io::ErrorKind::Unsupported));
        Err(OpenError::Other { path: path.to_owned(), source })
    }

    pub fn durability(&self) -> Durability {
        match *self {}
    }
}
