//! Reading logs: after a cursor, and by pages.

use snug_protocol::frame::EntryFrame;
use snug_protocol::{EntryKind, RoomId, Seq};
use snug_store::Store;

use crate::fixture::{ANY, Instance, contract, device, room_of};

contract![
    reading_goes_on_after_the_cursor_within_its_limits,
    reading_brings_one_entry_however_small_the_limit_of_bytes,
    pages_walk_back_to_the_first_entry,
    a_page_brings_the_later_entries_that_target_it,
    a_page_shrinks_to_its_bytes_but_never_to_nothing,
    a_page_counts_its_later_entries_too,
    a_page_before_the_first_entry_is_empty,
];

/// A room with `messages` entries, its record included.
async fn room_with(store: &Store, messages: u64) -> (RoomId, Instance) {
    let room = room_of(store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    for _ in 1..messages {
        instance.say(store).await;
    }
    (room, instance)
}

fn seqs(entries: &[EntryFrame]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq().0).collect()
}

async fn reading_goes_on_after_the_cursor_within_its_limits(store: Store) {
    let (room, _) = room_with(&store, 10).await;
    let read = async |after, limit, bytes| seqs(&store.read_after(room, Seq(after), limit, bytes).await.unwrap());
    assert_eq!(read(0, 3, ANY).await, [1, 2, 3]);
    assert_eq!(read(7, 100, ANY).await, [8, 9, 10]);
    let frame = store.read_after(room, Seq(1), 1, ANY).await.unwrap()[0].bytes().len();
    assert_eq!(read(3, 100, 2 * frame).await, [4, 5]);
    assert!(read(10, 100, ANY).await.is_empty());
    assert!(read(99, 100, ANY).await.is_empty());
    assert!(read(u64::MAX, 100, ANY).await.is_empty());
    assert!(read(0, 0, ANY).await.is_empty());
}

async fn reading_brings_one_entry_however_small_the_limit_of_bytes(store: Store) {
    let (room, _) = room_with(&store, 3).await;
    assert_eq!(seqs(&store.read_after(room, Seq(1), 10, 0).await.unwrap()), [2]);
}

async fn pages_walk_back_to_the_first_entry(store: Store) {
    let (room, _) = room_with(&store, 25).await;
    let (mut before, mut all) = (None, Vec::new());
    loop {
        let page = store.read_page(room, before, 10, ANY).await.unwrap().unwrap();
        assert_eq!(page.head, Seq(25));
        assert_eq!(page.to, before.map_or(Seq(25), |before: Seq| before.back(1)));
        assert_eq!(seqs(&page.entries), (page.from.0..=page.to.0).collect::<Vec<_>>());
        assert!(page.later.is_empty());
        all.splice(0..0, seqs(&page.entries));
        if page.from == Seq(1) {
            break;
        }
        before = Some(page.from);
    }
    assert_eq!(all, (1..=25).collect::<Vec<_>>());
}

async fn a_page_brings_the_later_entries_that_target_it(store: Store) {
    let (room, mut instance) = room_with(&store, 20).await;
    for (kind, target) in
        [(EntryKind::Edit, 4), (EntryKind::Reaction, 12), (EntryKind::Pin, 4), (EntryKind::Deletion, 20)]
    {
        store.append(instance.next(kind, target)).await.unwrap();
    }
    let page = async |before| store.read_page(room, Some(Seq(before)), 5, ANY).await.unwrap().unwrap();
    assert_eq!(seqs(&page(6).await.later), [21, 23]);
    assert_eq!(seqs(&page(13).await.later), [22]);
    assert!(page(11).await.later.is_empty());
    let newest = page(23).await;
    assert_eq!((seqs(&newest.entries), seqs(&newest.later)), (vec![18, 19, 20, 21, 22], vec![24]));
    assert!(newest.entries[2].is_tombstone());
    assert!(store.read_page(room, None, ANY, ANY).await.unwrap().unwrap().later.is_empty(), "nothing is said twice");
}

async fn a_page_shrinks_to_its_bytes_but_never_to_nothing(store: Store) {
    let (room, _) = room_with(&store, 10).await;
    let frame = store.read_after(room, Seq(1), 1, ANY).await.unwrap()[0].bytes().len();
    let page = store.read_page(room, Some(Seq(9)), 10, 3 * frame).await.unwrap().unwrap();
    assert_eq!((page.from, page.to, seqs(&page.entries)), (Seq(6), Seq(8), vec![6, 7, 8]));
    let page = store.read_page(room, Some(Seq(9)), 10, 1).await.unwrap().unwrap();
    assert_eq!(seqs(&page.entries), [8]);
}

async fn a_page_counts_its_later_entries_too(store: Store) {
    let (room, mut instance) = room_with(&store, 10).await;
    for _ in 0..30 {
        store.append(instance.next(EntryKind::Reaction, 5)).await.unwrap();
    }
    let frame = store.read_after(room, Seq(1), 1, ANY).await.unwrap()[0].bytes().len();
    let page = store.read_page(room, Some(Seq(8)), 10, 20 * frame).await.unwrap().unwrap();
    assert_eq!(seqs(&page.entries), [6, 7], "the page ends before the entry that was answered too often for it");
    let page = store.read_page(room, Some(Seq(6)), 10, 20 * frame).await.unwrap().unwrap();
    assert_eq!((seqs(&page.entries), page.later.len()), (vec![5], 30), "alone it comes with all of them");
}

async fn a_page_before_the_first_entry_is_empty(store: Store) {
    let (room, _) = room_with(&store, 3).await;
    for before in [0, 1] {
        let page = store.read_page(room, Some(Seq(before)), 10, ANY).await.unwrap().unwrap();
        assert!(page.from > page.to && page.entries.is_empty() && page.later.is_empty());
    }
    let page = store.read_page(room, Some(Seq(u64::MAX)), 10, ANY).await.unwrap().unwrap();
    assert_eq!((page.from, page.to), (Seq(1), Seq(3)));
    let none = store.read_page(room, None, 0, ANY).await.unwrap().unwrap();
    assert!(none.from > none.to && none.entries.is_empty());
}
