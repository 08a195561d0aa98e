//! Steps of the chain.
use super::Memory;
use crate::{Appended, NewStep, StepError, StoreError};

impl Memory {
    pub fn administer(&self, _step: NewStep) -> Result<Appended, StepError> {
        Err(StoreError::unavailable("not built").into())
    }
}
