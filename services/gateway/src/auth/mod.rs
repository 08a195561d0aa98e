//! Who is calling, and may they come in: peppers, nonces, sign-in signatures, grant secrets, access tokens.
//!
//! Nothing here speaks HTTP. Secrets are compared in constant time and never logged.

mod grant;
mod nonce;
mod pepper;
mod right;
mod sign_in;
mod token;
mod workers;

pub use grant::{GrantSecrets, HashError, Opened};
pub use nonce::Nonces;
pub use pepper::{PepperError, Peppers};
pub use right::right;
pub use sign_in::{SignInError, SignInScope, SignedIn, device_keys, verify_sign_in};
pub use token::{Authenticated, TokenError, Tokens};
