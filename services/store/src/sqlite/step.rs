//! Steps of the chain.
use super::Sqlite;
use crate::{Appended, NewStep, StepError, StoreError};

impl Sqlite {
    pub async fn administer(&self, _step: NewStep) -> Result<Appended, StepError> {
        Err(StoreError::unavailable("not built").into())
    }
}
