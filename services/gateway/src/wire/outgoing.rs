//! What a socket has yet to write: shared bytes, in order. Pure.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Pieces handed to the system at one time.
const SLICES_MAX: usize = 16;

/// The pieces. One alone, which is the rule, costs no allocation. In this order, see [`super::outlet::Outlet`].
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Outgoing {
    bytes: usize,
    /// Empty: there is nothing, but perhaps a pong.
    first: Bytes,
    rest: VecDeque<Bytes>,
    /// The answer to the newest ping, all that need be answered, yet to be put behind the rest.
    pong: Bytes,
}

impl Outgoing {
    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.bytes += piece.len();
        if self.first.is_empty() {
            self.first = piece;
        } else {
            self.rest.push_back(piece);
        }
    }

    /// Instead of the answer to an earlier ping, if that is still there.
    pub(super) fn answer(&mut self, pong: Bytes) {
        self.bytes -= self.pong.len();
        self.bytes += pong.len();
        self.pong = pong;
    }

    pub(super) const fn owes_pong(&self) -> bool {
        !self.pong.is_empty()
    }

    /// Puts the answer to a ping behind the rest.
    pub(super) fn push_pong(&mut self) {
        let pong = std::mem::take(&mut self.pong);
        self.bytes -= pong.len();
        self.push(pong);
    }

    /// How much there is, in bytes.
    pub(super) const fn len(&self) -> usize {
        self.bytes
    }

    /// Hands the next pieces to `write`, which says how many bytes of them it took.
    pub(super) fn write<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        if self.rest.is_empty() {
            return write(&[IoSlice::new(&self.first)]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        slices[0] = IoSlice::new(&self.first);
        let mut count = 1;
        for (slice, piece) in slices[1..].iter_mut().zip(&self.rest) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        write(&slices[..count])
    }

    /// So many bytes were written.
    pub(super) fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while count >= self.first.len() && !self.first.is_empty() {
            count -= self.first.len();
            self.first = self.rest.pop_front().unwrap_or_default();
        }
        self.first.advance(count);
        if self.bytes == 0 && self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the system takes at a time, all bytes come out once and in order, the newest pong last, and then no memory is kept.
        #[test]
        fn everything_is_written_once_in_order(
            pieces in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..50)), 0..60),
            takes in proptest::collection::vec(1usize..200, 1..20),
        ) {
            let (mut outgoing, mut expected, mut newest_pong) = (Outgoing::default(), Vec::new(), Vec::new());
            for (is_pong, piece) in &pieces {
                let bytes = Bytes::copy_from_slice(piece);
                if *is_pong {
                    outgoing.answer(bytes);
                    newest_pong.clone_from(piece);
                } else {
                    outgoing.push(bytes);
                    expected.extend_from_slice(piece);
                }
                prop_assert_eq!(outgoing.len(), expected.len() + newest_pong.len());
                prop_assert_eq!(outgoing.owes_pong(), !newest_pong.is_empty());
            }
            expected.extend(newest_pong);
            outgoing.push_pong();
            let (mut written, mut takes) = (Vec::new(), takes.iter().cycle());
            while outgoing.len() > 0 {
                let take = *takes.next().expect("endless");
                let count = outgoing.write(|slices| {
                    let offered: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
                    let count = take.min(offered.len());
                    written.extend_from_slice(&offered[..count]);
                    count
                });
                outgoing.advance(count);
            }
            prop_assert_eq!(written, expected);
            prop_assert_eq!(outgoing.rest.capacity(), 0);
        }
    }
}
