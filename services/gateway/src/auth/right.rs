//! What a device may do in a room.

use snug_protocol::ErrorCode;
use snug_protocol::http::Role;
use snug_store::Standing;

/// The role that a device's standing gives it; a recovery device counts as an owner.
///
/// # Errors
/// The code that says why it is not in the room.
pub fn right(standing: Option<Standing>) -> Result<Role, ErrorCode> {
    match standing {
        Some(Standing::Member(role)) => Ok(role),
        Some(Standing::Recovery) => Ok(Role::Owner),
        Some(Standing::Removed) => Err(ErrorCode::Removed),
        Some(Standing::Banned) => Err(ErrorCode::Banned),
        Some(Standing::Retired) => Err(ErrorCode::RecoveryReplaced),
        Some(Standing::Left) | None => Err(ErrorCode::NotAMember),
    }
}
