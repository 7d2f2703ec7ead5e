//! A TCP proxy that simulates a bad network: it delays some of the data, cuts connections, and refuses new ones until
//! it is mended. Or it just passes nothing on, and tells neither end.

use std::{net::SocketAddr, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

/// One in this many reads is delayed.
const LATE_ONE_IN: u32 = 8;
/// The longest delay.
const LATE: Duration = Duration::from_millis(30);

/// What happens to the connections when the network is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Both ends are reset.
    Reset,
    /// Both ends are closed.
    End,
    /// Half of what is under way is passed on, and then both ends are reset.
    Truncate,
    /// Nothing is passed on until it is mended. Connections stay, and new ones are accepted.
    Silent,
}

/// A proxy to a server. It ends when it is dropped.
pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    state: watch::Sender<Option<Cut>>,
    task: JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Line {
    /// A proxy that delays some of the data.
    pub(crate) async fn to(server: SocketAddr, seed: u64) -> Self {
        Self::by(server, Some(seed)).await
    }

    /// A proxy that delays nothing.
    pub(crate) async fn straight_to(server: SocketAddr) -> Self {
        Self::by(server, None).await
    }

    async fn by(server: SocketAddr, seed: Option<u64>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, cut) = watch::channel(None);
        let task = tokio::spawn(async move {
            let mut chance = seed.map(StdRng::seed_from_u64);
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if is_cut(*cut.borrow()) {
                    reset(&client);
                    continue;
                }
                let chance = chance.as_mut().map(|chance| StdRng::seed_from_u64(chance.random()));
                tokio::spawn(join(client, server, cut.clone(), chance));
            }
        });
        Self { address, state, task }
    }

    pub(crate) fn cut(&self, how: Cut) {
        self.state.send_replace(Some(how));
    }

    pub(crate) fn mend(&self) {
        self.state.send_replace(None);
    }
}

fn reset(stream: &TcpStream) {
    // Closing with zero linger sends a reset.
    let _ = stream.set_zero_linger();
}

/// Tells whether connections end.
fn is_cut(cut: Option<Cut>) -> bool {
    cut.is_some_and(|cut| cut != Cut::Silent)
}

/// Connects a client to the server.
async fn join(
    client: TcpStream,
    server: SocketAddr,
    mut cut: watch::Receiver<Option<Cut>>,
    chance: Option<StdRng>,
) {
    let is_there = until_heard(&mut cut).await;
    if is_there && let Ok(server) = TcpStream::connect(server).await {
        pass(client, server, cut, chance).await;
    }
}

/// Waits until the network is not silent. What is sent meanwhile waits in the buffers of the system. Returns whether the
/// proxy is still there.
async fn until_heard(cut: &mut watch::Receiver<Option<Cut>>) -> bool {
    cut.wait_for(|cut| *cut != Some(Cut::Silent)).await.is_ok()
}

async fn pass(
    client: TcpStream,
    server: TcpStream,
    mut cut: watch::Receiver<Option<Cut>>,
    mut chance: Option<StdRng>,
) {
    let (mut client, mut server) = (client, server);
    let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let how = loop {
        if !until_heard(&mut cut).await {
            return;
        }
        let (passed, to_client) = tokio::select! {
            Ok(how) = cut.wait_for(Option::is_some) => match *how {
                Some(Cut::Silent) => continue,
                how => break how,
            },
            read = client.read(&mut up) => (read, false),
            read = server.read(&mut down) => (read, true),
        };
        let Ok(count @ 1..) = passed else { return };
        if let Some(chance) = &mut chance
            && chance.random_ratio(1, LATE_ONE_IN)
        {
            sleep(LATE.mul_f64(chance.random())).await;
        }
        let written = if to_client {
            client.write_all(&down[..count]).await
        } else {
            server.write_all(&up[..count]).await
        };
        if written.is_err() {
            return;
        }
    };
    match how {
        Some(Cut::End | Cut::Silent) | None => {}
        Some(Cut::Reset) => {
            reset(&client);
            reset(&server);
        }
        Some(Cut::Truncate) => {
            // What is under way in either direction loses its second half.
            if let Ok(count) = server.try_read(&mut down) {
                let _ = client.write_all(&down[..count / 2]).await;
            }
            if let Ok(count) = client.try_read(&mut up) {
                let _ = server.write_all(&up[..count / 2]).await;
            }
            reset(&client);
            reset(&server);
        }
    }
}
