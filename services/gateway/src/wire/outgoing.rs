//! What a socket has yet to write: shared bytes, in order. Pure.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Pieces handed to the system at one time.
const SLICES_MAX: usize = 16;

/// The pieces. One alone, which is the rule, costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Empty: there is nothing.
    first: Bytes,
    rest: VecDeque<Bytes>,
    bytes: usize,
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
        /// Whatever the system takes at a time, all bytes come out once and in order, and then no memory is kept.
        #[test]
        fn everything_is_written_once_in_order(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..60),
            takes in proptest::collection::vec(1usize..200, 1..20),
        ) {
            let mut outgoing = Outgoing::default();
            for piece in &pieces {
                outgoing.push(Bytes::copy_from_slice(piece));
            }
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
            prop_assert_eq!(written, pieces.concat());
            prop_assert_eq!(outgoing.rest.capacity(), 0);
        }
    }
}
