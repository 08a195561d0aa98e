//! Reading a database's address. What is shown of it never has the password in it.

use std::str::FromStr as _;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

use crate::OpenError;

/// Statements that a connection keeps prepared.
const STATEMENTS_KEPT: usize = 256;
/// What may stand behind the question mark. Others would be ignored, and with them what they were meant to say.
const PARAMETERS: [&str; 13] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];

/// Those that name files.
const FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

/// Where a database is, and how to get in.
#[derive(Clone)]
pub(super) struct Address {
    pub options: PgConnectOptions,
    /// For people: database, host, port.
    pub place: String,
}

impl Address {
    /// Reads `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=…`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, OpenError> {
        let wrong = |reason: &str| OpenError::Address { reason: reason.to_owned() };
        let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        let rest = rest.ok_or_else(|| wrong("it does not begin with postgres://"))?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // Such a password would end up in the host's or the database's name, and so in logs.
        if rest.contains(['@', '#']) || authority.matches('@').count() > 1 {
            return Err(wrong(
                "characters such as @ : / ? # in user or password must be written as %40 %3A %2F %3F %23",
            ));
        }
        let parameters = rest.split_once('?').map(|(_, parameters)| parameters).unwrap_or_default();
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let name = parameter.split('=').next().unwrap_or_default();
            if !PARAMETERS.contains(&name) && !name.starts_with("options[") {
                return Err(wrong(&format!("there is no parameter {name}")));
            }
            let value = parameter.split_once('=').map(|(_, value)| value).unwrap_or_default();
            if FILES.contains(&name) && !value.contains('%') && std::fs::metadata(value).is_err() {
                return Err(wrong(&format!("{name} names a file that is not there, {value}")));
            }
        }
        let options = PgConnectOptions::from_str(url).map_err(|error| match error {
            sqlx::Error::Configuration(error) => wrong(&error.to_string()),
            _ => wrong("it cannot be read"),
        })?;
        let name = options.get_application_name().unwrap_or("snug").to_owned();
        let options = options
            .application_name(&name)
            .statement_cache_capacity(STATEMENTS_KEPT)
            // The texts of batches are long, and their parameters are no business of a log.
            .disable_statement_logging();
        let place = place(&options);
        Ok(Self { options, place })
    }
}

fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(folder) => format!("{database} at {}", folder.display()),
        None => format!("{database} at {}:{}", options.get_host(), options.get_port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        let error = Address::parse(url).err().expect("it is refused").to_string();
        assert!(!error.contains("secret") && !error.contains('\n'), "{error}");
        error
    }

    #[test]
    fn what_is_shown_has_no_password_in_it() {
        let address =
            Address::parse("postgres://snug:secret@db.example:6432/chat?sslmode=require").expect("an address");
        assert_eq!(address.place, "chat at db.example:6432");
        let address = Address::parse("postgresql://snug:sec%40ret@db.example/chat").expect("an address");
        assert_eq!(address.place, "chat at db.example:5432");
        let address = Address::parse("postgres:///chat?host=/run/postgresql").expect("an address");
        assert_eq!(address.place, "chat at /run/postgresql");
    }

    #[test]
    fn a_password_that_would_be_read_as_something_else_is_refused() {
        for url in [
            "postgres://u:12/secret@h/db",
            "postgres://u:se@cret@h/db",
            "postgres://u:1?secret@h/db",
            "postgres://u:1#secret@h/db",
        ] {
            assert!(refused(url).contains("%40"), "{url}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(refused("mysql://u:secret@h/db").contains("postgres://"));
        assert!(refused("postgres://u:secret@h/db?sslmod=require").contains("sslmod"));
        assert!(refused("postgres://u:secret@h/db?sslmode=maybe").contains("maybe"));
        assert!(refused("postgres://u:secret@h:port/db").contains("port"));
        assert!(refused("postgres://u:secret@h/db?sslrootcert=/no/such.pem").contains("/no/such.pem"));
    }
}
