//! Migrations only add, so that a node of the last version runs on the next one's schema while they are exchanged one by one. The first
//! may still be rewritten until the first release.

use std::path::Path;

/// The first migration that is held to it.
const HELD_FROM: i64 = 2;

/// What is wrong with a migration, if anything: what is not known to only add is refused.
fn judge(migration: &str) -> Result<(), String> {
    let bare = without_comments(migration).to_lowercase();
    let mut own_tables = Vec::new();
    for statement in bare.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        let words: Vec<&str> =
            statement.split(|c: char| c.is_whitespace() || c == '(').filter(|it| !it.is_empty()).collect();
        let refuse = |why: &str| Err(format!("{why}: {}", words.join(" ")));
        match words.as_slice() {
            ["create", "table", name, ..] => own_tables.push(*name),
            ["create", "index", ..] | ["create", "view", _, "as", ..] => {}
            ["create", "unique", "index", _, "on", table, ..] if own_tables.contains(table) => {}
            ["create", "unique", ..] => return refuse("old versions may write what this index refuses"),
            ["alter", ..] if has_list(statement) => return refuse("one change a statement"),
            ["alter", "table", table, "add", ..] if own_tables.contains(table) => {}
            ["alter", "table", _, "add", "column", column @ ..] => judge_column(column).or_else(|why| refuse(&why))?,
            ["insert", "into", table, ..] if own_tables.contains(table) => {}
            // Says that versions which do not know this migration cannot use the database any more.
            ["update", "snug", "set", "oldest_reader", ..] => {}
            _ => return refuse("not known to only add"),
        }
    }
    Ok(())
}

/// Whether versions that do not know a new column can go on writing rows.
fn judge_column(column: &[&str]) -> Result<(), String> {
    let has = |word: &str| column.iter().any(|it| it.trim_matches([',', ')']) == word);
    if has("unique") || has("primary") || has("references") {
        return Err("old versions write rows that this refuses".into());
    }
    if has("not") && has("null") && !has("default") {
        return Err("old versions leave the column out, so it needs a default".into());
    }
    Ok(())
}

/// Whether a comma stands outside of parentheses.
fn has_list(statement: &str) -> bool {
    let mut depth = 0;
    statement.chars().any(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    })
}

/// The text without comments and the contents of strings.
fn without_comments(text: &str) -> String {
    let (mut bare, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['-', '/', '\'']) {
        let (before, from) = rest.split_at(at);
        bare.push_str(before);
        let (skipped, kept) = if from.starts_with("--") {
            (from.find('\n').unwrap_or(from.len()), " ")
        } else if from.starts_with("/*") {
            (from.find("*/").map_or(from.len(), |end| end + 2), " ")
        } else if let Some(string) = from.strip_prefix('\'') {
            (string.find('\'').map_or(from.len(), |end| end + 2), "''")
        } else {
            (1, &from[..1])
        };
        bare.push_str(kept);
        rest = &from[skipped..];
    }
    bare + rest
}

#[test]
fn every_migration_after_the_first_only_adds() {
    let mut versions = Vec::new();
    for database in ["sqlite", "postgres"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations").join(database);
        let mut found = Vec::new();
        for file in std::fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let version: i64 = name.split('_').next().unwrap().parse().unwrap();
            found.push(version);
            if version >= HELD_FROM {
                judge(&std::fs::read_to_string(&path).unwrap())
                    .unwrap_or_else(|why| panic!("{database}/{name}: {why}"));
            }
        }
        found.sort_unstable();
        versions.push(found);
    }
    assert_eq!(versions[0], versions[1], "both databases have the same migrations");
}

#[test]
fn what_only_adds_is_allowed() {
    for migration in [
        "-- drop table room;\ncreate table file (id bytea primary key, room bytea not null unique);",
        "create table file (id integer primary key) strict; create unique index file_id on file (id); insert into file values (1);",
        "create index member_state on member (state) where state = 1",
        "create view heads as select room, head from room",
        "alter table room add column topic text; alter table room add column files bigint not null default 0 check (files >= 0)",
        "alter table entry add column note text default 'not null; drop table room'",
        "update snug set oldest_reader = 2",
        "/* alter table room drop column name */",
        "",
    ] {
        judge(migration).unwrap_or_else(|why| panic!("{why}"));
    }
}

#[test]
fn what_does_more_than_add_is_refused() {
    for migration in [
        "drop table room",
        "DROP INDEX entry_pin",
        "alter table room drop column name",
        "alter table room rename to chat",
        "alter table room rename column name to title",
        "alter table room alter column head type integer",
        "alter table room alter column name set not null",
        "alter table room add column topic text not null",
        "alter table room add column topic text unique",
        "alter table room add column owner bytea references device (device)",
        "alter table room add column topic text, drop column name",
        "alter table room add column topic text, add column mood text not null",
        "alter table room add constraint short check (length(name) < 10)",
        "create unique index room_name on room (name)",
        "create index a on room (name); truncate entry",
        "update room set head = 0",
        "insert into snug values (3)",
        "delete from room",
        "create trigger t after insert on room begin delete from entry; end",
        "do $$ begin execute 'drop table room'; end $$",
        "create table file (id bytea); -- a comment\ndrop table room",
        "create table file (note text default 'it''s'); drop table room",
        "alter table room /* harmless */ drop column name",
    ] {
        assert!(judge(migration).is_err(), "{migration}");
    }
}
