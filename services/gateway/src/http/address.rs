//! The client's address behind trusted proxies, and the limiter of requests by it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Request};
use axum::response::IntoResponse;
use governor::clock::QuantaInstant;
use governor::middleware::NoOpMiddleware;
use snug_protocol::ErrorCode;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder, SharedRateLimiter};
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use super::error::{ApiError, wait};
use crate::config::{AddressRange, Limits};
use crate::limit::subject;
use crate::telemetry::HttpCounters;

/// Where a request comes from: the peer, or behind trusted proxies the rightmost forwarded address that is not one of them.
/// (The leftmost, which tower-governor's own extractor takes, is whatever the client wrote.)
pub fn client_address(extensions: &Extensions, headers: &HeaderMap, proxies: &[AddressRange]) -> Option<IpAddr> {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip().to_canonical();
    let trusted = |address: IpAddr| proxies.iter().any(|range| range.contains(address));
    if !trusted(peer) {
        return Some(peer);
    }
    let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let mut hops: Vec<&str> = forwarded.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut address = peer;
    while let Some(hop) = hops.pop() {
        // Some proxies (Azure's Application Gateway) write the client's port too.
        let hop = hop.parse::<IpAddr>().or_else(|_| hop.parse::<SocketAddr>().map(|hop| hop.ip()));
        let Ok(hop) = hop.map(|hop| hop.to_canonical()) else { break };
        address = hop;
        if !trusted(hop) {
            break;
        }
    }
    Some(address)
}

/// The address of the caller, for limits.
pub struct ClientAddress(pub IpAddr);

impl<S> FromRequestParts<S> for ClientAddress
where
    S: Send + Sync,
    Arc<[AddressRange]>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let proxies = Arc::<[AddressRange]>::from_ref(state);
        client_address(&parts.extensions, &parts.headers, &proxies).map(Self).ok_or_else(|| ErrorCode::Internal.into())
    }
}

/// Tells tower-governor whom a request counts against.
#[derive(Clone)]
pub struct ByAddress {
    proxies: Arc<[AddressRange]>,
}

impl KeyExtractor for ByAddress {
    type Key = IpAddr;

    fn extract<T>(&self, request: &Request<T>) -> Result<IpAddr, GovernorError> {
        client_address(request.extensions(), request.headers(), &self.proxies)
            .map(subject)
            .ok_or(GovernorError::UnableToExtractKey)
    }
}

/// The layer that limits.
pub type Governor = GovernorLayer<ByAddress, NoOpMiddleware<QuantaInstant>, Body>;

/// What the layer remembers of addresses, to be swept now and then.
#[derive(Clone)]
pub struct RequestLimiter(SharedRateLimiter<IpAddr, NoOpMiddleware<QuantaInstant>>);

impl RequestLimiter {
    /// Forgets addresses that have not called for a while.
    pub fn sweep(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }
}

/// Requests by address: `http_burst` at once, then `http_per_second`.
pub fn governor(
    limits: &Limits,
    proxies: Arc<[AddressRange]>,
    counters: Arc<HttpCounters>,
) -> (Governor, RequestLimiter) {
    let period = Duration::from_secs(1) / limits.http_per_second.max(1);
    let config: GovernorConfig<ByAddress, NoOpMiddleware<QuantaInstant>> = GovernorConfigBuilder::default()
        .period(period)
        .burst_size(limits.http_burst.max(1))
        .key_extractor(ByAddress { proxies })
        .finish()
        .expect("period and burst are at least one");
    let limiter = RequestLimiter(config.limiter().clone());
    let layer = GovernorLayer::new(Arc::new(config)).error_handler(move |error| match error {
        // The crate counts in whole seconds and says 0 for less.
        GovernorError::TooManyRequests { wait_time, .. } => {
            counters.limited.increment();
            wait(ErrorCode::TooManyRequests, Duration::from_secs(wait_time).max(period)).into_response()
        }
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => {
            ApiError::from(ErrorCode::Internal).into_response()
        }
    });
    (layer, limiter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(peer: &str, forwarded: &[&str], proxies: &[&str]) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo::<SocketAddr>(format!("{peer}:1").parse().expect("an address")));
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().expect("a header"));
        }
        let proxies: Vec<AddressRange> = proxies.iter().map(|range| range.parse().expect("a range")).collect();
        client_address(&extensions, &headers, &proxies).expect("a peer").to_string()
    }

    #[test]
    fn a_client_cannot_choose_the_address_it_is_limited_by() {
        assert_eq!(address("1.1.1.1", &["9.9.9.9"], &[]), "1.1.1.1", "nobody is trusted by default");
        assert_eq!(address("10.0.0.1", &["9.9.9.9, 1.1.1.1"], &["10.0.0.0/8"]), "1.1.1.1");
        assert_eq!(address("10.0.0.1", &["9.9.9.9", "1.1.1.1, 10.0.0.2"], &["10.0.0.0/8"]), "1.1.1.1");
        assert_eq!(address("10.0.0.1", &["9.9.9.9:1, 1.1.1.1:50000"], &["10.0.0.0/8"]), "1.1.1.1");
        assert_eq!(address("10.0.0.1", &["9.9.9.9, [2001:db8::1]:50000"], &["10.0.0.0/8"]), "2001:db8::1");
        assert_eq!(address("10.0.0.1", &["9.9.9.9, nonsense"], &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &[], &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(address("[::ffff:10.0.0.1]", &["1.1.1.1"], &["10.0.0.0/8"]), "1.1.1.1");
    }
}
