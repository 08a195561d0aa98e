//! Whether an envelope is appended to a room's log.

use std::time::Duration;

use snug_protocol::http::Role;
use snug_protocol::{DeviceId, EntryKind, Header, Seq};

use crate::{AppendError, Standing};

/// What to do with an envelope.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is the instance's next.
    Append,
    /// It, or another with its identity, was appended before.
    Duplicate,
    /// Neither.
    Refused(AppendError),
}

/// What is known of an envelope's author in its room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Author {
    /// `None`: never seen there.
    pub standing: Option<Standing>,
    /// 0: not muted.
    pub muted_until_ms: u64,
    /// When it last wrote a message while slow mode was on.
    pub wrote_at_ms: u64,
}

/// What a room asks of every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub epoch: u32,
    /// 0: no slow mode.
    pub slow_ms: u64,
}

/// The entry that another is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub kind: EntryKind,
    pub author: DeviceId,
    /// The author's role: the present one, or the one it left with.
    pub role: Role,
    pub is_erased: bool,
}

/// Decides on an envelope with this `header` but for what it is about, `next` being its instance's next counter.
///
/// Duplicates come first: what was acknowledged stays acknowledged, even to a device that has left, or after a change of epoch.
pub(crate) fn judge(header: &Header, next: u64, author: &Author, terms: Terms, now_ms: u64) -> Verdict {
    if header.kind.is_chain() {
        return Verdict::Refused(AppendError::EntryNotAccepted);
    }
    if header.counter < next {
        return Verdict::Duplicate;
    }
    match allowed(header, next, author, terms, now_ms) {
        Ok(()) => Verdict::Append,
        Err(why) => Verdict::Refused(why),
    }
}

fn allowed(header: &Header, next: u64, author: &Author, terms: Terms, now_ms: u64) -> Result<(), AppendError> {
    let role = match author.standing {
        Some(Standing::Member(role)) => role,
        Some(Standing::Removed) => return Err(AppendError::Removed),
        Some(Standing::Banned) => return Err(AppendError::Banned),
        Some(Standing::Left | Standing::Recovery | Standing::Retired) | None => return Err(AppendError::NotAMember),
    };
    if header.epoch != terms.epoch {
        return Err(AppendError::StaleEpoch { epoch: terms.epoch });
    }
    if header.counter > next {
        return Err(AppendError::OutOfOrder { expected: next });
    }
    if header.kind.is_about_a_message() != (header.target > Seq::ZERO) {
        return Err(AppendError::TargetInvalid);
    }
    let may_be_muted = !matches!(header.kind, EntryKind::Profile | EntryKind::Leave | EntryKind::Deletion);
    if may_be_muted && author.muted_until_ms > now_ms {
        return Err(AppendError::Muted);
    }
    if is_slowed(header, role, terms) {
        // A clock that went back must not ask for a longer wait than slow mode does.
        let wait_ms = author.wrote_at_ms.saturating_add(terms.slow_ms).saturating_sub(now_ms).min(terms.slow_ms);
        if wait_ms > 0 {
            return Err(AppendError::SlowMode { retry_after: Duration::from_millis(wait_ms) });
        }
    }
    Ok(())
}

/// Whether slow mode counts this entry.
pub(crate) const fn is_slowed(header: &Header, role: Role, terms: Terms) -> bool {
    terms.slow_ms > 0 && matches!(header.kind, EntryKind::Message) && matches!(role, Role::Member)
}

/// Decides on an edit, deletion, reaction or pin by what it is about; `role` is its author's.
///
/// # Errors
/// Why it is not appended.
pub(crate) fn judge_target(header: &Header, role: Role, target: Option<Target>) -> Result<(), AppendError> {
    let target = target.filter(|target| target.kind == EntryKind::Message).ok_or(AppendError::TargetInvalid)?;
    if target.is_erased {
        return Err(AppendError::TargetGone);
    }
    let is_own = target.author == header.device;
    match header.kind {
        EntryKind::Edit if !is_own => Err(AppendError::NotAllowed),
        EntryKind::Deletion if !is_own && !role.outranks(target.role) => Err(AppendError::NotAllowed),
        _ => Ok(()),
    }
}

/// How many are members of a room now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headcount {
    pub owners: u64,
    pub members: u64,
}

impl Headcount {
    /// Decides on a leave by one of them with this role, and counts it.
    ///
    /// # Errors
    /// It is the last owner, and others are members.
    pub fn leave(&mut self, role: Role) -> Result<(), AppendError> {
        let is_owner = role == Role::Owner;
        if is_owner && self.owners <= 1 && self.members > 1 {
            return Err(AppendError::LastOwner);
        }
        self.owners -= u64::from(is_owner && self.owners > 0);
        self.members = self.members.saturating_sub(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use snug_protocol::{InstanceId, RoomId};

    use super::*;

    const AUTHOR: DeviceId = DeviceId([1; 16]);
    const TERMS: Terms = Terms { epoch: 0, slow_ms: 0 };

    fn header(kind: EntryKind) -> Header {
        let target = Seq(u64::from(kind.is_about_a_message()));
        let (room, instance) = (RoomId([1; 16]), InstanceId([1; 16]));
        Header { kind, room, epoch: 0, device: AUTHOR, instance, counter: 0, target }
    }

    fn author(role: Role) -> Author {
        Author { standing: Some(Standing::Member(role)), ..Author::default() }
    }

    #[test]
    fn a_muted_member_may_only_introduce_itself_delete_and_leave() {
        let muted = Author { muted_until_ms: 100, ..author(Role::Member) };
        for kind in (1..=9).filter_map(EntryKind::from_u8).filter(|kind| !kind.is_chain()) {
            let may = matches!(kind, EntryKind::Profile | EntryKind::Deletion | EntryKind::Leave);
            assert_eq!(allowed(&header(kind), 0, &muted, TERMS, 99).is_ok(), may, "{kind:?}");
            assert!(allowed(&header(kind), 0, &muted, TERMS, 100).is_ok(), "{kind:?}");
        }
    }

    #[test]
    fn slow_mode_asks_plain_members_to_wait_for_the_rest_of_its_pause() {
        let terms = Terms { slow_ms: 1000, ..TERMS };
        let wait = |role, wrote_at_ms, now_ms| {
            let author = Author { wrote_at_ms, ..author(role) };
            match allowed(&header(EntryKind::Message), 0, &author, terms, now_ms) {
                Err(AppendError::SlowMode { retry_after }) => u64::try_from(retry_after.as_millis()).unwrap(),
                other => other.map(|()| 0).unwrap(),
            }
        };
        assert_eq!(wait(Role::Member, 5000, 5400), 600);
        assert_eq!(wait(Role::Member, 5000, 6000), 0);
        assert_eq!(wait(Role::Member, 9_000_000, 6000), 1000, "a clock that went back locks nobody out for long");
        assert_eq!(wait(Role::Moderator, 5000, 5400), 0);
        let edit = Author { wrote_at_ms: 5000, ..author(Role::Member) };
        assert!(allowed(&header(EntryKind::Edit), 0, &edit, terms, 5001).is_ok());
    }

    #[test]
    fn only_the_author_edits_and_only_who_outranks_the_author_deletes_too() {
        let roles = [Role::Owner, Role::Moderator, Role::Member];
        for (role, of_author) in roles.into_iter().flat_map(|role| roles.map(|other| (role, other))) {
            let target = |author| Some(Target { kind: EntryKind::Message, author, role: of_author, is_erased: false });
            let other = DeviceId([9; 16]);
            for kind in [EntryKind::Edit, EntryKind::Deletion, EntryKind::Reaction, EntryKind::Pin] {
                assert!(judge_target(&header(kind), role, target(AUTHOR)).is_ok());
                let may = match kind {
                    EntryKind::Edit => false,
                    EntryKind::Deletion => role.outranks(of_author),
                    _ => true,
                };
                assert_eq!(judge_target(&header(kind), role, target(other)).is_ok(), may, "{kind:?}");
            }
        }
    }

    #[test]
    fn the_last_owner_leaves_last() {
        let mut count = Headcount { owners: 2, members: 3 };
        count.leave(Role::Owner).unwrap();
        assert!(matches!(count.leave(Role::Owner), Err(AppendError::LastOwner)));
        count.leave(Role::Member).unwrap();
        count.leave(Role::Owner).unwrap();
        assert_eq!(count, Headcount::default());
    }
}
