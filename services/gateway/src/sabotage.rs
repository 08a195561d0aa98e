//! What a test breaks in a node on purpose, to show that the fault suite notices it.
//!
//! None of it is in a release build, whatever its features: it takes the feature `sabotage` and debug assertions, and does nothing then
//! either unless `--sabotage` asks for it.

#[cfg(all(feature = "sabotage", debug_assertions))]
mod asked {
    use std::sync::atomic::{AtomicBool, Ordering};

    static HEAD_CHECK_OFF: AtomicBool = AtomicBool::new(false);

    /// What can be broken.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
    pub enum Sabotage {
        /// Heads are never compared with the store's.
        HeadCheck,
    }

    impl Sabotage {
        /// Breaks it, for all nodes of this process.
        pub fn commit(self) {
            tracing::warn!(sabotage = ?self, "this node is broken on purpose");
            match self {
                Self::HeadCheck => HEAD_CHECK_OFF.store(true, Ordering::Relaxed),
            }
        }
    }

    pub fn head_check_is_off() -> bool {
        HEAD_CHECK_OFF.load(Ordering::Relaxed)
    }
}

#[cfg(not(all(feature = "sabotage", debug_assertions)))]
mod asked {
    pub const fn head_check_is_off() -> bool {
        false
    }
}

#[cfg(all(feature = "sabotage", debug_assertions))]
pub use asked::Sabotage;
pub(crate) use asked::head_check_is_off;
