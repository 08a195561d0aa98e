//! The certificate that a node itself would show: whether it fits its key, is valid for a while yet, and is for the name that people type.
//!
//! What is absent: who signed it. An authority of one's own is as good as a public one, to those who have been given it.

use std::path::Path;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use super::{Report, State};
use crate::config::Identity;
use crate::tls;

/// How long before its end a certificate is worth a word: programs that renew them do it weeks before, so this one's has not.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

pub(super) fn check(cert: &Path, key: &Path, identity: Option<&Identity>, now: UnixTime, report: &mut Report) {
    let chain = match tls::acceptor(cert, key).and_then(|_| tls::chain(cert)) {
        Ok(chain) => chain,
        Err(error) => return report.note("certificate", State::Failed, error.to_string()),
    };
    let (state, said) = dates(&chain, now);
    report.note("certificate", state, format!("{} {said}", cert.display()));
    if let Some(identity) = identity {
        let (state, said) = name(&chain[0], identity);
        report.note("host name", state, said);
    }
}

/// How the dates of a chain are.
fn dates(chain: &[CertificateDer<'_>], now: UnixTime) -> (State, String) {
    let mut first_end = UnixTime::since_unix_epoch(Duration::MAX);
    for (place, certificate) in chain.iter().enumerate() {
        // Of an authority's, browsers may need another one than this: roots that have ended are often handed out for old devices.
        let (state, whose) = match place {
            0 => (State::Failed, String::new()),
            _ => (State::Warning, format!("(its certificate {}) ", place + 1)),
        };
        let said = match end(certificate, now) {
            Ok(end) => {
                first_end = first_end.min(end);
                continue;
            }
            Err(Error::CertExpired { not_after, .. }) => {
                format!("ended at {}; renew it, and restart the node", shown(not_after))
            }
            Err(Error::CertNotValidYet { not_before, .. }) => {
                format!("begins at {} only; is this machine's clock right?", shown(not_before))
            }
            Err(error) => format!("is no certificate that browsers know: {error}"),
        };
        return (state, format!("{whose}{said}"));
    }
    let left = Duration::from_secs(first_end.as_secs().saturating_sub(now.as_secs()));
    if left < ENDS_SOON {
        let days = left.as_secs() / (24 * 60 * 60);
        return (
            State::Warning,
            format!("ends at {}, in {days} days; renew it, and restart the node", shown(first_end)),
        );
    }
    (State::Ok, format!("and its key fit, until {}", shown(first_end)))
}

/// When a certificate that is valid at `now` ends.
fn end(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<UnixTime, Error> {
    let certificate = EndEntityCert::try_from(certificate)?;
    // The library tells a certificate's times only to who asks about a moment outside of them. It looks at them first; that nobody is
    // trusted here comes later.
    let at = |time| certificate.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None).err();
    if let Some(error @ (Error::CertNotValidYet { .. } | Error::CertExpired { .. })) = at(now) {
        return Err(error);
    }
    match at(UnixTime::since_unix_epoch(Duration::MAX)) {
        Some(Error::CertExpired { not_after, .. }) => Ok(not_after),
        error => Err(error.unwrap_or(Error::InvalidCertValidity)),
    }
}

/// Whether a certificate is for the host of the address that people open.
fn name(certificate: &CertificateDer<'_>, identity: &Identity) -> (State, String) {
    let host = identity.host();
    let is_for = || {
        let name = ServerName::try_from(host).ok()?;
        EndEntityCert::try_from(certificate).ok()?.verify_is_valid_for_subject_name(&name).ok()
    };
    if is_for().is_some() {
        return (State::Ok, format!("the certificate is for {host}"));
    }
    // Behind a proxy with a certificate of its own, this one may be for another name.
    (State::Warning, format!("the certificate is not for {host}, which is what people open (SNUG_PUBLIC_URL)"))
}

/// A time as RFC 3339 has it.
fn shown(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "the end of time".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// Valid from 2026-06-01 to 2026-09-01, for chat.example.
    fn of_summer() -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["chat.example".to_owned()]).expect("names");
        (params.not_before, params.not_after) = (date_time_ymd(2026, 6, 1), date_time_ymd(2026, 9, 1));
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().clone()
    }

    fn of_always() -> CertificateDer<'static> {
        rcgen::generate_simple_self_signed(["chat.example".to_owned()]).expect("a certificate").cert.der().clone()
    }

    fn at(date: &str) -> UnixTime {
        let time: jiff::Timestamp = date.parse().expect("a time");
        UnixTime::since_unix_epoch(Duration::from_secs(time.as_second().try_into().expect("after 1970")))
    }

    fn check(chain: &[CertificateDer<'_>], now: &str, state: State, word: &str) {
        let (found, said) = dates(chain, at(now));
        assert!(found == state && said.contains(word), "{now}: {found:?}: {said}");
    }

    #[test]
    fn a_certificate_is_good_until_two_weeks_before_its_end() {
        let chain = [of_summer()];
        check(&chain, "2026-05-31T23:59:59Z", State::Failed, "begins at 2026-06-01T00:00:00Z");
        check(&chain, "2026-06-01T00:00:00Z", State::Ok, "until 2026-09-01T00:00:00Z");
        check(&chain, "2026-08-18T00:00:00Z", State::Ok, "until 2026-09-01T00:00:00Z");
        check(&chain, "2026-08-18T00:00:01Z", State::Warning, "in 13 days");
        check(&chain, "2026-09-01T00:00:00Z", State::Warning, "in 0 days");
        check(&chain, "2026-09-01T00:00:01Z", State::Failed, "ended at 2026-09-01T00:00:00Z");
    }

    #[test]
    fn a_chain_is_good_as_long_as_all_of_it() {
        let chain = [of_always(), of_summer()];
        check(&chain, "2026-07-01T00:00:00Z", State::Ok, "until 2026-09-01T00:00:00Z");
        check(&chain, "2026-08-31T00:00:00Z", State::Warning, "in 1 days");
        check(&chain, "2026-10-01T00:00:00Z", State::Warning, "(its certificate 2) ended");
        check(&[CertificateDer::from(vec![1, 2, 3])], "2026-10-01T00:00:00Z", State::Failed, "no certificate");
    }
}
