//! Comparing both sides, row by row, after a copy.

use sha2::{Digest as _, Sha256};
use snug_protocol::Envelope;
use snug_protocol::envelope::HEADER_BYTES;

use super::row::{Cell, Row, Table};
use super::source::Source;
use super::target::Target;
use super::{Progress, Stage, TransferError, Transferred};

/// Compares all rows of all tables, and each room's log with its head.
pub(super) async fn verify(
    source: &mut Source,
    target: &mut Target,
    tables: &[Table],
    chunk_rows: usize,
    progress: &mut dyn FnMut(Progress),
) -> Result<Transferred, TransferError> {
    let mut transferred = Transferred { tables: Vec::new(), rooms: 0, damaged: 0 };
    for table in tables {
        let rows_total = source.count(table).await?;
        let (mut rows, mut after, mut digest) = (0, None, Sha256::new());
        loop {
            progress(Progress { stage: Stage::Comparing, table: table.name.clone(), rows, rows_total });
            let ours = source.rows(table, after.as_deref(), chunk_rows).await?;
            let theirs = target.rows(table, after.as_deref(), chunk_rows).await?;
            if ours != theirs {
                return Err(differs(table, rows, &ours, &theirs));
            }
            let Some(last) = ours.last() else { break };
            after = Some(table.key_of(last));
            rows += ours.len() as u64;
            theirs.iter().flatten().for_each(|cell| cell.digest(&mut |bytes| digest.update(bytes)));
            if table.name == "entry" {
                transferred.damaged += ours.iter().filter(|row| is_damaged(table, row)).count() as u64;
            }
        }
        transferred.tables.push((table.name.clone(), rows, digest.finalize().into()));
    }
    let (rooms, broken) = target.rooms().await?;
    if broken > 0 {
        let reason = format!("the logs of {broken} rooms have holes or do not end at the room's head");
        return Err(TransferError::Differs { reason });
    }
    transferred.rooms = rooms;
    Ok(transferred)
}

fn differs(table: &Table, rows: u64, ours: &[Row], theirs: &[Row]) -> TransferError {
    let same = ours.iter().zip(theirs).take_while(|(ours, theirs)| ours == theirs).count() as u64;
    TransferError::Differs { reason: format!("table {}, row {}", table.name, rows + same + 1) }
}

/// Whether an entry's envelope does not have the hash beside it. A tombstone has no envelope any more.
fn is_damaged(table: &Table, row: &[Cell]) -> bool {
    let bytes = |column| match table.at(column).map(|at| &row[at]) {
        Some(Cell::Bytes(bytes)) => bytes.clone(),
        _ => Vec::new(),
    };
    let (envelope, hash) = (bytes("envelope"), bytes("hash"));
    envelope.len() != HEADER_BYTES
        && !Envelope::parse(envelope.into()).is_ok_and(|envelope| envelope.hash().0[..] == hash)
}
