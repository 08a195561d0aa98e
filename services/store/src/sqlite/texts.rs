//! Statements over many rows at once.
//!
//! Rows go in chunks whose sizes are powers of two, so that a statement has few texts and each of them stays prepared: preparing a
//! text of hundreds of parameters costs more than running it.

use std::fmt::Write as _;

/// The most rows of one statement.
const CHUNK_ROWS_MAX: usize = 64;
const SIZES: usize = CHUNK_ROWS_MAX.ilog2() as usize + 1;

/// The texts of one statement, for each size of chunk.
pub(super) struct Texts([String; SIZES]);

impl Texts {
    /// `text` makes the statement around a list `($1, $2), ($3, $4), …` of rows with this many columns.
    pub fn new(columns: usize, text: impl Fn(&str) -> String) -> Self {
        Self(std::array::from_fn(|size| text(&placeholders(1 << size, columns))))
    }

    /// The statement for the rows of one of the [`chunks`].
    pub fn for_rows(&self, rows: usize) -> &str {
        debug_assert!(rows.is_power_of_two() && rows <= CHUNK_ROWS_MAX, "rows come from `chunks`");
        &self.0[rows.ilog2() as usize]
    }
}

fn placeholders(rows: usize, columns: usize) -> String {
    let mut list = String::new();
    for row in 0..rows {
        list.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            write!(list, "{comma}${}", row * columns + column + 1).expect("a string takes everything");
        }
        list.push(')');
    }
    list
}

/// `rows` in order, in chunks of sizes that there are texts for.
pub(super) fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
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
    fn placeholders_are_numbered_through() {
        let texts = Texts::new(2, |rows| format!("values {rows}"));
        assert_eq!(texts.for_rows(1), "values ($1, $2)");
        assert_eq!(texts.for_rows(2), "values ($1, $2), ($3, $4)");
    }
}
