//! The accept loop: a bounded number of connections, with timeouts for idle and slow ones. axum's own has no such
//! timeouts, and no way to set them.

use std::{
    collections::BTreeMap,
    io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset},
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use engine::limits::{
    counter::{Counted, Counts},
    network,
};
use hyper::{
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::add_extension::AddExtension;

use crate::http::client::TrustedProxies;

/// The maximum number of HTTP connections. If there is one more, the oldest idle one is closed; if none is idle, it
/// waits. WebSockets are counted elsewhere, since they are not among these once they are open.
const CONNECTIONS: usize = 4_000;
/// The maximum number of HTTP connections of one address, so that one address cannot take all slots. If there is one
/// more, the oldest idle one of the same address is closed.
const CONNECTIONS_OF_AN_ADDRESS: usize = 125;
/// The timeout for the head of a request, and for the next request of a connection that is kept alive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stopping server waits for responses that have begun.
const LAST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait after a failed accept, such as when too many files are open.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// What the accept loop counts.
#[derive(Debug, Clone, Default)]
pub struct ListenerMetrics {
    cut: Counter,
    too_many: Counter,
}

impl ListenerMetrics {
    /// Adds what the accept loop counts to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let Self { cut, too_many } = self;
        registry.register(
            "qchat_http_connections_cut",
            "Number of idle HTTP connections that were closed to make room for another",
            cut.clone(),
        );
        registry.register(
            "qchat_http_connections_refused",
            "Number of HTTP connections that were closed since their address had too many, none of them idle",
            too_many.clone(),
        );
    }
}

/// Accepts and serves connections until `stop` is cancelled, and then completes the responses that have begun. Each
/// connection is served by the router that was the newest when it was accepted.
pub async fn serve(
    listener: TcpListener,
    router: watch::Receiver<Router>,
    proxies: TrustedProxies,
    stop: CancellationToken,
    metrics: ListenerMetrics,
) {
    serve_limited(listener, router, proxies, stop, metrics, CONNECTIONS).await;
}

async fn serve_limited(
    listener: TcpListener,
    router: watch::Receiver<Router>,
    proxies: TrustedProxies,
    stop: CancellationToken,
    metrics: ListenerMetrics,
    connections: usize,
) {
    let places = Arc::new(Semaphore::new(connections));
    let (addresses, silent) =
        (Arc::new(Counts::default()), Arc::new(Silent { cut: metrics.cut, ..Silent::default() }));
    let open = TaskTracker::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            next = accept(&listener) => next,
        };
        let Ok(of_address) = admit(peer.ip(), &addresses, &silent, &proxies) else {
            metrics.too_many.inc();
            continue;
        };
        if places.available_permits() == 0 {
            silent.cut_oldest(|_| true);
        }
        let place = tokio::select! {
            () = stop.cancelled() => break,
            Ok(place) = Arc::clone(&places).acquire_owned() => place,
        };
        let newest = router.borrow().clone();
        let service = TowerToHyperService::new(AddExtension::new(newest, ConnectInfo(peer)));
        let address = of_address.as_ref().map(|_| network(peer.ip().to_canonical()));
        let silence = Arc::new(Silence::begin(&silent, address));
        let cut = silence.cut.clone();
        let service = service_fn(move |request| {
            silence.ends();
            let (answer, silence) = (service.call(request), Arc::clone(&silence));
            async move {
                let answer = answer.await;
                silence.begins_again();
                answer
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let stop = stop.clone();
        open.spawn(async move {
            let mut connection = pin!(connection);
            // the client knows best why the connection ended
            tokio::select! {
                _ = connection.as_mut() => {}
                () = cut.cancelled() => {}
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = timeout(LAST_TIMEOUT, connection).await;
                }
            }
            drop((place, of_address));
        });
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// The connections that are idle. Those that never had a request come first, and within each group those idle for the
/// longest time.
#[derive(Default)]
struct Silent {
    waiting: Mutex<Waiting>,
    /// The number of connections that were closed to make room.
    cut: Counter,
}

#[derive(Default)]
struct Waiting {
    connections: BTreeMap<(HasAsked, u64), (Option<IpAddr>, CancellationToken)>,
    next: u64,
}

/// Whether a connection has had a request before.
type HasAsked = bool;

/// The entry of a connection among the idle ones, while it is idle.
struct Silence {
    silent: Arc<Silent>,
    /// `None` if connections of this address are not counted.
    address: Option<IpAddr>,
    cut: CancellationToken,
    place: Mutex<Option<(HasAsked, u64)>>,
}

impl Silent {
    /// Closes the oldest idle connection whose address matches. Returns false if there is none.
    fn cut_oldest(&self, is_meant: impl Fn(Option<IpAddr>) -> bool) -> bool {
        let mut waiting = lock(&self.waiting);
        let oldest = waiting.connections.iter().find(|(_, (address, _))| is_meant(*address));
        let Some(place) = oldest.map(|(place, _)| *place) else { return false };
        if let Some((_, cut)) = waiting.connections.remove(&place) {
            cut.cancel();
            self.cut.inc();
        }
        true
    }
}

impl Silence {
    fn begin(silent: &Arc<Silent>, address: Option<IpAddr>) -> Self {
        let (silent, cut) = (Arc::clone(silent), CancellationToken::new());
        let silence = Self { silent, address, cut, place: Mutex::default() };
        silence.begins(false);
        silence
    }

    fn begins(&self, has_asked: HasAsked) {
        let mut waiting = lock(&self.silent.waiting);
        let place = (has_asked, waiting.next);
        waiting.next += 1;
        waiting.connections.insert(place, (self.address, self.cut.clone()));
        drop(waiting);
        *lock(&self.place) = Some(place);
    }

    fn begins_again(&self) {
        self.begins(true);
    }

    fn ends(&self) {
        let place = lock(&self.place).take();
        if let Some(place) = place {
            lock(&self.silent.waiting).connections.remove(&place);
        }
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.ends();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error for an address with too many connections, none of which is idle.
struct TooMany;

/// Counts a connection of an address. Not counted are those of proxies, and of this machine itself, which may be a
/// proxy that was not configured.
fn admit(
    peer: IpAddr,
    addresses: &Arc<Counts<IpAddr>>,
    silent: &Silent,
    proxies: &TrustedProxies,
) -> Result<Option<Counted<IpAddr>>, TooMany> {
    let peer = peer.to_canonical();
    if peer.is_loopback() || proxies.trust(peer) {
        return Ok(None);
    }
    let address = network(peer);
    let counted = addresses.add(address);
    let has_room =
        counted.count() <= CONNECTIONS_OF_AN_ADDRESS || silent.cut_oldest(|silent| silent == Some(address));
    if has_room { Ok(Some(counted)) } else { Err(TooMany) }
}

/// Returns the next connection.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // a message is one small packet, and should not wait for another
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            // it was closed before it was accepted
            Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused) => {
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn connections_of_an_address_are_limited_and_proxies_may_have_more() {
        let addresses = Arc::new(Counts::default());
        let silent = Silent::default();
        let proxies: TrustedProxies = "10.0.0.0/8".parse().unwrap();
        let open = |address: &str| {
            let address = address.parse().unwrap();
            let all: Vec<_> =
                (0..600).map_while(|_| admit(address, &addresses, &silent, &proxies).ok()).collect();
            all.len()
        };
        assert_eq!(open("192.0.2.1"), CONNECTIONS_OF_AN_ADDRESS);
        assert_eq!(open("192.0.2.1"), CONNECTIONS_OF_AN_ADDRESS, "those that are closed make room");
        assert_eq!(open("::ffff:192.0.2.1"), CONNECTIONS_OF_AN_ADDRESS);
        assert_eq!([open("10.1.2.3"), open("127.0.0.1"), open("::1")], [600; 3]);
    }

    #[test]
    fn one_more_connection_of_an_address_closes_its_oldest_idle_one() {
        let (addresses, silent) = (Arc::new(Counts::default()), Arc::new(Silent::default()));
        let proxies = TrustedProxies::default();
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        let other = Silence::begin(&silent, Some("192.0.2.2".parse().unwrap()));
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS_OF_AN_ADDRESS {
            let counted = admit(peer, &addresses, &silent, &proxies).ok().flatten().unwrap();
            open.push((counted, Silence::begin(&silent, Some(peer))));
        }
        // the oldest is being answered, and the second has been answered before
        open[0].1.ends();
        open[1].1.ends();
        open[1].1.begins_again();
        let cut = |open: &[(_, Silence)]| {
            let places = open.iter().enumerate().filter(|(_, (_, silence))| silence.cut.is_cancelled());
            places.map(|(place, _)| place).collect::<Vec<_>>()
        };
        for expected in 2..CONNECTIONS_OF_AN_ADDRESS {
            assert!(admit(peer, &addresses, &silent, &proxies).is_ok());
            assert_eq!(cut(&open), (2..=expected).collect::<Vec<_>>());
        }
        assert!(admit(peer, &addresses, &silent, &proxies).is_ok());
        assert!(cut(&open).contains(&1) && !cut(&open).contains(&0));
        assert!(admit(peer, &addresses, &silent, &proxies).is_err(), "what is being answered is not cut");
        assert!(!other.cut.is_cancelled());
    }

    #[tokio::test]
    async fn idle_connections_keep_no_client_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "here" }));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve_limited(
            listener,
            watch::channel(router).1,
            TrustedProxies::default(),
            stop.clone(),
            ListenerMetrics::default(),
            3,
        ));
        let ask = async |stream: &mut TcpStream| {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut answer = vec![0; 1024];
            let length = stream.read(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer[..length]).ends_with("here")
        };
        let mut kept = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut kept).await);
        let mut silent = Vec::new();
        for _ in 0..6 {
            let mut half_open = TcpStream::connect(address).await.unwrap();
            half_open.write_all(b"GET / HT").await.unwrap();
            silent.push(half_open);
        }
        let mut other = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut other).await);
        // the oldest idle ones were closed, but not the one with a request before
        let mut rest = Vec::new();
        assert!(matches!(silent[0].read_to_end(&mut rest).await, Ok(0) | Err(_)));
        assert!(ask(&mut kept).await);
        stop.cancel();
        serving.await.unwrap();
    }
}
