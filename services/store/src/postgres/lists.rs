//! Statements over many rows at once, as lists of values.
//!
//! Rows go as one array for each column: one text for any number of rows, which stays prepared, and few parameters.

use std::fmt::Write as _;

use super::{Connection, Query, Row};
use crate::sql::list::{Kind, Value};

/// One statement over a list.
pub(super) struct Lists {
    text: String,
    columns: Vec<Kind>,
}

impl Lists {
    /// `text` makes the statement around a query of a list's rows, whose columns hold these kinds of values.
    pub fn new(columns: &[Kind], text: impl Fn(&str) -> String) -> Self {
        Self { text: text(&unnested(columns, 1)), columns: columns.to_vec() }
    }

    /// Runs the statement for all of `rows`, in order, and returns what it finds.
    pub async fn fetch_all<const COLUMNS: usize>(
        &'static self,
        connection: &mut Connection,
        rows: &[[Value<'_>; COLUMNS]],
    ) -> Result<Vec<Row>, sqlx::Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        self.query(rows).fetch_all(connection).await
    }

    /// Runs the statement for all of `rows`, in order.
    pub async fn execute<const COLUMNS: usize>(
        &'static self,
        connection: &mut Connection,
        rows: &[[Value<'_>; COLUMNS]],
    ) -> Result<(), sqlx::Error> {
        if !rows.is_empty() {
            self.query(rows).execute(connection).await?;
        }
        Ok(())
    }

    fn query<'q, const COLUMNS: usize>(&'static self, rows: &[[Value<'q>; COLUMNS]]) -> Query<'q> {
        bind(sqlx::query(self.text.as_str()), &self.columns, rows)
    }

    /// The text.
    #[cfg(test)]
    pub fn texts(&self) -> [&str; 1] {
        [&self.text]
    }
}

/// Binds a list's rows, an array for each column.
pub(super) fn bind<'q, const COLUMNS: usize>(
    mut query: Query<'q>,
    columns: &[Kind],
    rows: &[[Value<'q>; COLUMNS]],
) -> Query<'q> {
    for (at, kind) in columns.iter().enumerate() {
        let column = rows.iter().map(|row| row[at]);
        query = match kind {
            Kind::Bytes => query.bind(column.filter_map(bytes).collect::<Vec<_>>()),
            Kind::Number => query.bind(column.filter_map(number).collect::<Vec<_>>()),
        };
    }
    query
}

fn bytes(value: Value<'_>) -> Option<&[u8]> {
    let Value::Bytes(bytes) = value else {
        debug_assert!(false, "a number among bytes");
        return None;
    };
    Some(bytes)
}

fn number(value: Value<'_>) -> Option<i64> {
    let Value::Number(number) = value else {
        debug_assert!(false, "bytes among numbers");
        return None;
    };
    Some(number)
}

/// `select c1, c2 from unnest($1::bytea[], $2::bigint[]) as list (c1, c2)`, with parameters from `first` on.
pub(super) fn unnested(columns: &[Kind], first: usize) -> String {
    let (mut names, mut arrays) = (String::new(), String::new());
    for (at, kind) in columns.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        let array = match kind {
            Kind::Bytes => "bytea[]",
            Kind::Number => "bigint[]",
        };
        write!(names, "{comma}c{}", at + 1).expect("a string takes everything");
        write!(arrays, "{comma}${}::{array}", at + first).expect("a string takes everything");
    }
    format!("select {names} from unnest({arrays}) as list ({names})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_an_array_for_each_column() {
        let list = unnested(&[Kind::Bytes, Kind::Number], 3);
        assert_eq!(list, "select c1, c2 from unnest($3::bytea[], $4::bigint[]) as list (c1, c2)");
    }
}
