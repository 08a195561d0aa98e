//! Statements over many rows at once, as lists of values.
//!
//! Rows go in chunks whose sizes are powers of two, so that a statement has few texts and each of them stays prepared: preparing a
//! text of hundreds of parameters costs more than running it.

use super::{Connection, Query, Row};
use crate::sql::list::{Kind, Value};

/// The most rows of one statement. A longer list SQLite, without statistics, takes for larger than the table that its rows are to be found in,
/// and goes through the table instead.
const CHUNK_ROWS_MAX: usize = 64;
const SIZES: usize = CHUNK_ROWS_MAX.ilog2() as usize + 1;

/// The texts of one statement, for each size of chunk.
pub(super) struct Lists([String; SIZES]);

impl Lists {
    /// `text` makes the statement around a query of a list's rows, whose columns hold these kinds of values.
    pub fn new(columns: &[Kind], text: impl Fn(&str) -> String) -> Self {
        Self(std::array::from_fn(|size| text(&values(1 << size, columns.len()))))
    }

    /// Runs the statement for all of `rows`, in order, and returns what it finds.
    pub async fn fetch_all<const COLUMNS: usize>(
        &'static self,
        connection: &mut Connection,
        rows: &[[Value<'_>; COLUMNS]],
    ) -> Result<Vec<Row>, sqlx::Error> {
        let mut found = Vec::new();
        for chunk in chunks(rows) {
            found.append(&mut self.query(chunk).fetch_all(&mut *connection).await?);
        }
        Ok(found)
    }

    /// Runs the statement for all of `rows`, in order.
    pub async fn execute<const COLUMNS: usize>(
        &'static self,
        connection: &mut Connection,
        rows: &[[Value<'_>; COLUMNS]],
    ) -> Result<(), sqlx::Error> {
        for chunk in chunks(rows) {
            self.query(chunk).execute(&mut *connection).await?;
        }
        Ok(())
    }

    fn query<'q, const COLUMNS: usize>(&'static self, chunk: &[[Value<'q>; COLUMNS]]) -> Query<'q> {
        let mut query = sqlx::query(self.for_rows(chunk.len()));
        for value in chunk.iter().flatten() {
            query = match value {
                Value::Bytes(bytes) => query.bind(*bytes),
                Value::Number(number) => query.bind(*number),
            };
        }
        query
    }

    /// The statement for the rows of one of the [`chunks`].
    fn for_rows(&self, rows: usize) -> &str {
        debug_assert!(rows.is_power_of_two() && rows <= CHUNK_ROWS_MAX, "rows come from `chunks`");
        &self.0[rows.ilog2() as usize]
    }

    /// The shortest text and the longest.
    #[cfg(test)]
    pub fn texts(&self) -> [&str; 2] {
        [&self.0[0], &self.0[SIZES - 1]]
    }
}

/// `values (?, ?), (?, ?), …`. Placeholders without names: of each that has one sqlx asks SQLite for it, which looks for it in a list of all.
fn values(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    format!("values {}", vec![row; rows].join(", "))
}

/// `rows` in order, in chunks of sizes that there are texts for.
fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = 1 << rows.len().checked_ilog2()?;
        let (chunk, rest) = rows.split_at(size.min(CHUNK_ROWS_MAX));
        rows = rest;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_powers_of_two_and_lose_nothing() {
        for rows in 0..300usize {
            let all: Vec<usize> = (0..rows).collect();
            let chunked: Vec<&[usize]> = chunks(&all).collect();
            assert!(chunked.iter().all(|chunk| chunk.len().is_power_of_two() && chunk.len() <= CHUNK_ROWS_MAX));
            assert_eq!(chunked.concat(), all);
        }
    }

    #[test]
    fn there_is_a_placeholder_for_each_value() {
        let lists = Lists::new(&[Kind::Bytes, Kind::Number], |rows| format!("insert {rows}"));
        assert_eq!(lists.for_rows(1), "insert values (?, ?)");
        assert_eq!(lists.for_rows(2), "insert values (?, ?), (?, ?)");
    }
}
