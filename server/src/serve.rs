//! The door: takes connections in, a bounded number at once, and waits for none that does not get to the point. What axum
//! has for this waits for ever, and does not let itself be told otherwise.

use std::{
    io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset},
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::add_extension::AddExtension;

use crate::{
    client::TrustedProxies,
    counts::{Counted, Counts},
    limits::network,
};

/// Connections that ask for pages and files at once; further ones wait to be accepted. Sockets are counted elsewhere,
/// since they are none of these once they are open.
const CONNECTIONS: usize = 4_000;
/// So many of them come from one address at most, so that nobody takes all places from one.
const CONNECTIONS_OF_AN_ADDRESS: usize = 500;
/// The head of a request comes within this time, and so does the next request of a connection that is kept.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// When the server stops, an answer that was begun is waited for this long.
const LAST_PATIENCE: Duration = Duration::from_secs(5);
/// When nothing can be accepted, as when too many files are open, it is tried again after this long.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Serves until it is to stop, and then what was begun to its end.
pub async fn serve(listener: TcpListener, router: Router, proxies: TrustedProxies, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let addresses = Arc::new(Counts::default());
    let open = TaskTracker::new();
    loop {
        let (stream, peer, place) = tokio::select! {
            () = stop.cancelled() => break,
            Some(next) = accept(&listener, &places) => next,
        };
        let Ok(of_address) = admit(peer.ip(), &addresses, &proxies) else { continue };
        let service = TowerToHyperService::new(AddExtension::new(router.clone(), ConnectInfo(peer)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let stop = stop.clone();
        open.spawn(async move {
            let mut connection = pin!(connection);
            // whoever is at the other end knows best why it ended
            tokio::select! {
                _ = connection.as_mut() => {}
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = timeout(LAST_PATIENCE, connection).await;
                }
            }
            drop((place, of_address));
        });
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// There are enough connections from an address.
struct Enough;

/// Counts a connection from an address. Those from a proxy are not counted, nor those from this machine itself, which may
/// well be one that was not named.
fn admit(
    peer: IpAddr,
    addresses: &Arc<Counts<IpAddr>>,
    proxies: &TrustedProxies,
) -> Result<Option<Counted<IpAddr>>, Enough> {
    let peer = peer.to_canonical();
    if peer.is_loopback() || proxies.trust(peer) {
        return Ok(None);
    }
    let counted = addresses.add(network(peer));
    if counted.count() <= CONNECTIONS_OF_AN_ADDRESS { Ok(Some(counted)) } else { Err(Enough) }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    loop {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, peer)) => {
                // a message is one small packet, and is not to wait for another
                let _ = stream.set_nodelay(true);
                return Some((stream, peer, place));
            }
            // it went before it was taken
            Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused) => {
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_REST).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_proxies_have_more() {
        let addresses = Arc::new(Counts::default());
        let proxies: TrustedProxies = "10.0.0.0/8".parse().unwrap();
        let open = |address: &str| {
            let address = address.parse().unwrap();
            let all: Vec<_> = (0..600).map_while(|_| admit(address, &addresses, &proxies).ok()).collect();
            all.len()
        };
        assert_eq!(open("192.0.2.1"), CONNECTIONS_OF_AN_ADDRESS);
        assert_eq!(open("192.0.2.1"), CONNECTIONS_OF_AN_ADDRESS, "those that are closed make room");
        assert_eq!(open("::ffff:192.0.2.1"), CONNECTIONS_OF_AN_ADDRESS);
        assert_eq!([open("10.1.2.3"), open("127.0.0.1"), open("::1")], [600; 3]);
    }
}
