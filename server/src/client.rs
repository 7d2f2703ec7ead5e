//! Who is at the other end of a request: from which address, and whether over TLS. Behind a proxy both are what the
//! proxy says, if it is one that is trusted; what anybody else says about themselves is not believed.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use domain::UserId;
use ipnet::IpNet;

use crate::router::Parts;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Browsers that came over TLS come over nothing else for a year (RFC 6797).
const TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The other end of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// From where it comes.
    pub address: IpAddr,
    /// Whether it comes over TLS, as far as a trusted proxy says so.
    pub is_secure: bool,
}

/// Whoever asks for something: a session, somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Whose session.
    pub user: UserId,
    /// From where.
    pub address: IpAddr,
}

/// The proxies that are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// What is no address and no network.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address and no network")]
pub struct NoNetwork(String);

impl FromStr for TrustedProxies {
    type Err = NoNetwork;

    /// Addresses and networks such as `10.0.0.0/8`, with commas between; an empty text trusts nobody.
    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let named = text.split(',').map(str::trim).filter(|named| !named.is_empty());
        let net = |named: &str| {
            let address = || named.parse::<IpAddr>().map(IpNet::from);
            named.parse().or_else(|_| address()).map_err(|_| NoNetwork(named.to_owned()))
        };
        named.map(net).collect::<Result<_, _>>().map(Self)
    }
}

impl TrustedProxies {
    /// Whether an address is that of a proxy that is believed.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Who is behind a connection from `peer`. Every proxy adds at the right whom it heard, so the list is believed
    /// from there on for as long as trusted ones speak; the first who is not is the client.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let mut address = peer.to_canonical();
        let is_proxy = self.trust(address);
        let forwarded = headers.get_all(FORWARDED_FOR).iter().rev().filter_map(|value| value.to_str().ok());
        let mut heard = forwarded.flat_map(|value| value.rsplit(','));
        while self.trust(address) {
            match heard.next().map(|heard| heard.trim().parse::<IpAddr>()) {
                Some(Ok(before)) => address = before.to_canonical(),
                _ => break,
            }
        }
        let proto = headers.get_all(FORWARDED_PROTO).iter().next_back().and_then(|proto| proto.to_str().ok());
        let proto = proto.and_then(|proto| proto.rsplit(',').next()).map(str::trim);
        Client { address, is_secure: is_proxy && proto == Some("https") }
    }
}

impl Client {
    /// The other end of a request that came through [`identify`].
    pub fn of(request: &Request) -> Self {
        let nobody = Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), is_secure: false };
        request.extensions().get().copied().unwrap_or(nobody)
    }
}

/// Notes on every request who sent it ([`Client::of`]), and tells browsers that came over TLS to keep to it.
pub async fn identify(State(parts): State<Arc<Parts>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let client = parts.proxies.client(peer, request.headers());
    request.extensions_mut().insert(client);
    let mut response = next.run(request).await;
    if client.is_secure {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, TLS_ONLY);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &str, peer: &str, headers: &[(HeaderName, &str)]) -> Client {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        proxies.parse::<TrustedProxies>().unwrap().client(peer.parse().unwrap(), &headers)
    }

    fn address(proxies: &str, peer: &str, forwarded: &str) -> String {
        client(proxies, peer, &[(FORWARDED_FOR, forwarded)]).address.to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(address("", "10.0.0.1", "1.1.1.1"), "10.0.0.1");
        assert_eq!(address("10.0.0.0/8", "10.0.0.1", "1.1.1.1"), "1.1.1.1");
        assert_eq!(address("10.0.0.0/8, ::1", "::1", "6.6.6.6, 1.1.1.1, 10.2.2.2"), "1.1.1.1");
        assert_eq!(address("10.0.0.0/8", "10.0.0.1", "nonsense"), "10.0.0.1");
        assert_eq!(address("10.0.0.0/8", "10.0.0.1", "1.1.1.1, nonsense, 10.0.0.2"), "10.0.0.2");
        assert_eq!(
            address("10.0.0.0/8", "::ffff:10.0.0.1", "1.1.1.1"),
            "1.1.1.1",
            "an address of both kinds"
        );
        assert_eq!(address("10.0.0.0/8", "10.0.0.1", "10.0.0.2"), "10.0.0.2", "nobody is left to ask");
    }

    #[test]
    fn tls_is_what_a_trusted_proxy_says() {
        let secure = |proxies, proto| client(proxies, "10.0.0.1", &[(FORWARDED_PROTO, proto)]).is_secure;
        assert!(secure("10.0.0.1", "https"));
        assert!(!secure("10.0.0.1", "http"));
        assert!(!secure("10.0.0.1", "https, http"), "what the nearest proxy says counts");
        assert!(!secure("10.0.0.2", "https"));
    }

    #[test]
    fn what_is_no_network_is_named() {
        let error = "10.0.0.1, everywhere".parse::<TrustedProxies>().unwrap_err();
        assert!(error.to_string().contains("everywhere"));
        assert_eq!(" ".parse::<TrustedProxies>().unwrap(), TrustedProxies::default());
    }
}
