//! Tables and rows as both databases have them.

/// A value, whichever database it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Bytes(Vec<u8>),
    Number(i64),
    Text(String),
    Flag(bool),
}

impl Cell {
    /// The bytes that stand for it in a digest: what it is, how long it is, and itself.
    pub fn digest(&self, into: &mut impl FnMut(&[u8])) {
        let (kind, bytes) = match self {
            Self::Null => (0u8, &[][..]),
            Self::Bytes(bytes) => (1, &bytes[..]),
            Self::Text(text) => (2, text.as_bytes()),
            Self::Number(number) => return into(&[&[3][..], &number.to_be_bytes()].concat()),
            Self::Flag(flag) => return into(&[4, u8::from(*flag)]),
        };
        into(&[kind]);
        into(&(bytes.len() as u64).to_be_bytes());
        into(bytes);
    }
}

pub(super) type Row = Vec<Cell>;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bytes,
    Number,
    Text,
    Flag,
}

impl Kind {
    /// By what Postgres calls it.
    pub fn of(postgres: &str) -> Option<Self> {
        match postgres {
            "bytea" => Some(Self::Bytes),
            "bigint" => Some(Self::Number),
            "text" => Some(Self::Text),
            "boolean" => Some(Self::Flag),
            _ => None,
        }
    }

    /// As a parameter of Postgres.
    pub const fn array(self) -> &'static str {
        match self {
            Self::Bytes => "bytea[]",
            Self::Number => "bigint[]",
            Self::Text => "text[]",
            Self::Flag => "boolean[]",
        }
    }
}

/// A table; the columns of its primary key come first.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub name: String,
    pub columns: Vec<(String, Kind)>,
    pub key_columns: usize,
}

impl Table {
    /// The key of one of its rows.
    pub fn key_of(&self, row: &[Cell]) -> Vec<Cell> {
        row[..self.key_columns].to_vec()
    }

    pub fn at(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|(name, _)| name == column)
    }

    fn names(&self, columns: usize) -> String {
        let names: Vec<&str> = self.columns[..columns].iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    }

    pub fn column_names(&self) -> String {
        self.names(self.columns.len())
    }

    pub fn key_names(&self) -> String {
        self.names(self.key_columns)
    }

    /// The next rows in the order of the key: all, or those after the key in the first parameters. The last parameter is how many.
    pub fn select(&self, is_after: bool) -> String {
        let (columns, key, name) = (self.column_names(), self.key_names(), &self.name);
        if !is_after {
            return format!("select {columns} from {name} order by {key} limit $1");
        }
        let parameters: Vec<String> = (1..=self.key_columns).map(|at| format!("${at}")).collect();
        let (parameters, limit) = (parameters.join(", "), self.key_columns + 1);
        format!("select {columns} from {name} where ({key}) > ({parameters}) order by {key} limit ${limit}")
    }
}
