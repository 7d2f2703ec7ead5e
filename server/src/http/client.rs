//! The client of a request: its address, and whether it uses TLS. Behind a trusted proxy both are what the proxy says;
//! forwarding headers of anyone else are ignored.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Browsers that came over TLS use nothing else for a year (RFC 6797).
const TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Stands for all clients for which a trusted proxy gives no readable address: they share the limits of one address.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The shortest time between two warnings about a misconfigured proxy.
const LOGGED_AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);

/// The client of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The client's IP address.
    pub address: IpAddr,
    /// Whether the client uses TLS, according to a trusted proxy.
    pub is_secure: bool,
}

/// The addresses and networks of trusted proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// The error for text that is neither an address nor a network.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a network")]
pub struct NoNetwork(String);

impl FromStr for TrustedProxies {
    type Err = NoNetwork;

    /// Parses addresses and networks such as `10.0.0.0/8`, separated by commas. An empty text trusts no proxy.
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
    /// Whether an address is that of a trusted proxy.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Returns the client behind a connection from `peer`. Every proxy appends the address it was contacted from, so
    /// `X-Forwarded-For` is read from the right for as long as the addresses are trusted proxies; the first other one
    /// is the client.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let mut address = peer.to_canonical();
        let is_proxy = self.trust(address);
        let forwarded = headers.get_all(FORWARDED_FOR).iter().rev();
        // a value that is not text is no address either
        let mut heard = forwarded.flat_map(|value| value.to_str().unwrap_or("?").rsplit(','));
        while self.trust(address) {
            match heard.next().map(read_address) {
                Some(Some(before)) => address = before,
                Some(None) => {
                    warn_once();
                    address = UNKNOWN;
                }
                None => break,
            }
        }
        let proto = headers.get_all(FORWARDED_PROTO).iter().next_back().and_then(|proto| proto.to_str().ok());
        let proto = proto.and_then(|proto| proto.rsplit(',').next()).map(str::trim);
        Client { address, is_secure: is_proxy && proto == Some("https") }
    }
}

/// Parses an address as proxies write it: alone, in brackets, or with a port. Returns `None` for anything else.
fn read_address(heard: &str) -> Option<IpAddr> {
    let heard = heard.trim().trim_matches('"');
    let in_brackets =
        || heard.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(|v6: Ipv6Addr| v6.into());
    let with_port = || heard.parse().ok().map(|with_port: SocketAddr| with_port.ip());
    let address: IpAddr = heard.parse().ok().or_else(with_port).or_else(in_brackets)?;
    Some(address.to_canonical())
}

/// Warns about a misconfigured proxy, not too often, and without the header's value: that may contain an address.
fn warn_once() {
    static SAID_AT: Mutex<Option<Instant>> = Mutex::new(None);
    let mut said_at = SAID_AT.lock().unwrap_or_else(PoisonError::into_inner);
    if said_at.is_none_or(|at| at.elapsed() >= LOGGED_AGAIN_AFTER) {
        *said_at = Some(Instant::now());
        tracing::warn!(
            "a trusted proxy sends an X-Forwarded-For header without a valid address: all such clients share the limits \
             of one address"
        );
    }
}

impl Client {
    /// Returns the client of a request that passed through [`identify`].
    pub fn of(request: &Request) -> Self {
        let unknown = Self { address: UNKNOWN, is_secure: false };
        request.extensions().get().copied().unwrap_or(unknown)
    }
}

/// Adds the client to every request ([`Client::of`]), and `Strict-Transport-Security` to responses over TLS.
pub async fn identify(State(proxies): State<TrustedProxies>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let peer = peer.unwrap_or(UNKNOWN);
    let client = proxies.client(peer, request.headers());
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
        assert_eq!(
            address("10.0.0.0/8", "::ffff:10.0.0.1", "1.1.1.1"),
            "1.1.1.1",
            "an address of both kinds"
        );
        assert_eq!(
            address("10.0.0.0/8", "10.0.0.1", "10.0.0.2"),
            "10.0.0.2",
            "if all are proxies, the first of them is the client"
        );
    }

    #[test]
    fn an_address_is_read_as_proxies_write_it() {
        for (forwarded, expected) in [
            ("1.1.1.1:5555", "1.1.1.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("\"[2001:db8::1]:443\"", "2001:db8::1"),
            ("::ffff:1.1.1.1", "1.1.1.1"),
            ("[::ffff:1.1.1.1]:80", "1.1.1.1"),
            ("6.6.6.6:1, 1.1.1.1:5555, 10.0.0.2:80", "1.1.1.1"),
        ] {
            assert_eq!(address("10.0.0.0/8", "10.0.0.1", forwarded), expected, "{forwarded}");
        }
    }

    #[test]
    fn clients_whose_forwarded_address_is_unreadable_share_one_address() {
        for junk in
            ["nonsense", "unknown", "", "1.1.1.1, nonsense, 10.0.0.2", "1.1.1", "1.1.1.1:port", "1.1.1.1,"]
        {
            for proxy in ["10.0.0.1", "127.0.0.1"] {
                let heard = address("10.0.0.0/8, 127.0.0.1", proxy, junk);
                assert_eq!(heard, UNKNOWN.to_string(), "{junk:?}");
            }
        }
        let bytes = HeaderMap::from_iter([(FORWARDED_FOR, HeaderValue::from_bytes(b"\xff").unwrap())]);
        let proxies: TrustedProxies = "127.0.0.1".parse().unwrap();
        assert_eq!(proxies.client([127, 0, 0, 1].into(), &bytes).address, UNKNOWN);
        // without the header, the proxy itself is the client
        assert_eq!(proxies.client([127, 0, 0, 1].into(), &HeaderMap::new()).address.to_string(), "127.0.0.1");
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
