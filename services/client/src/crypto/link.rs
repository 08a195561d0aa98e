//! Invite links: `<origin>/#join=<room id ‖ grant id ‖ secret>`. What stands after `#` never reaches a server.

use std::fmt;

use snug_protocol::{GrantId, RoomId, decode_base64, encode_base64};
use zeroize::Zeroizing;

use super::Secret;
use crate::error::ClientError;

const MARK: &str = "#join=";

/// A way into a room that fits in a text. Whoever has it can join; `Debug` hides the secret, [`InviteLink::to_text`] shows it.
#[derive(Clone, Debug)]
pub struct InviteLink {
    /// Where the room is: `https://chat.example`.
    pub origin: String,
    /// The room.
    pub room: RoomId,
    /// The invite.
    pub grant: GrantId,
    /// What opens it.
    pub secret: Secret,
}

impl InviteLink {
    /// The link as people share it.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}/{MARK}{}", self.origin, *self.fragment()))
    }

    /// The 86 characters after `#join=`.
    #[must_use]
    pub fn fragment(&self) -> Zeroizing<String> {
        let bytes =
            Zeroizing::new([self.room.as_bytes().as_slice(), self.grant.as_bytes(), self.secret.bytes()].concat());
        Zeroizing::new(encode_base64(&bytes))
    }

    /// Reads a link, as pasted.
    ///
    /// # Errors
    /// `link_invalid`.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let (address, fragment) = text.trim().split_once(MARK).ok_or(ClientError::LinkInvalid)?;
        let bytes = decode_base64(fragment).map(Zeroizing::new).filter(|bytes| bytes.len() == 64);
        let bytes = bytes.ok_or(ClientError::LinkInvalid)?;
        let room = RoomId(bytes[..16].try_into().expect("64 bytes"));
        let grant = GrantId(bytes[16..32].try_into().expect("64 bytes"));
        let secret = Secret::of_invite(Zeroizing::new(bytes[32..].try_into().expect("64 bytes")));
        Ok(Self { origin: address.trim_end_matches('/').to_owned(), room, grant, secret })
    }
}

impl fmt::Display for InviteLink {
    /// Without the secret, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{MARK}…", self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_as_it_was_written() {
        let link = InviteLink {
            origin: "https://chat.example".into(),
            room: RoomId([1; 16]),
            grant: GrantId([2; 16]),
            secret: Secret::of_invite(Zeroizing::new([3; 32])),
        };
        let text = link.to_text();
        assert_eq!(link.fragment().len(), 86);
        let read = InviteLink::parse(&format!(" {}\n", *text)).expect("a link");
        assert_eq!((&read.origin, read.room, read.grant), (&link.origin, link.room, link.grant));
        assert_eq!(read.secret.bytes(), link.secret.bytes());
        assert!(!format!("{link} {link:?}").contains(&text[text.len() - 20..]));
        for broken in ["", "https://chat.example/", "https://chat.example/#join=abc", &text[..text.len() - 1]] {
            assert_eq!(InviteLink::parse(broken).map(|_| ()).map_err(|error| error.code()), Err("link_invalid"));
        }
    }
}
