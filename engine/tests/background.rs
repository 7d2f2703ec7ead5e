//! Background tasks that panic are restarted without any effect on others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::{
    Change, ChatId, Event, EventKind, Lifetimes, Nickname, Seq, Span, Title, UserId, Visibility,
    id::ID_BYTES, lobby::LobbyQuery,
};
use engine::{
    clock::{self, SteadyClock},
    command_log::local,
    expiry::{Duty, Sweeper},
    lobby::Lobby,
    presence::{self, Presence},
    storage::Store,
    supervisor::{Panics, Supervisor},
};
use tokio::time::sleep;

const ANA: UserId = UserId::from_bytes([1; ID_BYTES]);

/// Each of the three tasks reads the time in its work, and panics there once.
#[tokio::test(start_paused = true)]
async fn a_background_task_that_panics_goes_on_and_no_other_task_notices() {
    let (panics_now, sweep_panics) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let panicking = |panics_now: &Arc<AtomicBool>| -> clock::Clock {
        let panics_now = Arc::clone(panics_now);
        Arc::new(move || {
            assert!(!panics_now.swap(false, Ordering::SeqCst), "on purpose");
            clock::system()()
        })
    };
    let clock = panicking(&panics_now);
    let lifetimes = Lifetimes::default();
    let store = Arc::new(Store::in_memory(lifetimes).unwrap());
    let presence = Arc::new(Presence::new(presence::NodeId::ALONE, presence::GRACE, Arc::clone(&clock)));
    let lobby =
        Arc::new(Lobby::new(Vec::new(), Arc::clone(&presence), lifetimes, Arc::clone(&clock), usize::MAX));
    let (sequencer, _log) = local::open(clock::system(), store.epoch(), Seq::ZERO);
    let steady = Arc::new(SteadyClock::new(panicking(&sweep_panics), clock::uptime()));
    let sweep = Arc::new(Sweeper::new(
        store,
        Arc::new(sequencer),
        Arc::clone(&presence),
        steady.clock(),
        Some(Arc::clone(&steady)),
        Duty::Alone,
        Span::seconds(3_600),
    ));
    let panics = Arc::new(Panics::default());
    let mut background = Supervisor::new(Arc::clone(&panics));
    background.spawn("presence", &presence, |presence| async move { presence.run().await });
    background.spawn("lobby", &lobby, |lobby| async move { lobby.run().await });
    background.spawn("sweep", &sweep, |sweep| async move { sweep.run().await });
    let counts = || ["lobby", "sweep", "presence"].map(|task| panics.of(task));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(counts(), [0, 0, 0]);

    // The lobby still sends the change.
    let (mut view, _) = lobby.enter(LobbyQuery { limit: 9, ..LobbyQuery::default() }).await.unwrap();
    let (nickname, title) = (Nickname::friendly(1), Title::parse("Tea").unwrap());
    let kind =
        EventKind::Started { owner: ANA, nickname, title, visibility: Visibility::Public, guest: None };
    let chat = ChatId::from_bytes([7; ID_BYTES]);
    let at = clock();
    panics_now.store(true, Ordering::SeqCst);
    lobby.apply(&Change::Chat(Event { chat, seq: Seq(1), prev: Seq::ZERO, at, kind }));
    view.changed().await;
    assert_eq!(view.news().unwrap().listed.len(), 1);
    assert_eq!(counts(), [1, 0, 0]);

    // The sweep.
    presence.looked(Some(ANA), None);
    sweep_panics.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(counts(), [1, 1, 0]);

    // Presence still lets the user leave.
    drop(presence.arrive(ANA, Default::default()));
    sleep(Duration::from_secs(1)).await;
    panics_now.store(true, Ordering::SeqCst);
    sleep(presence::GRACE * 2).await;
    assert_eq!(counts(), [1, 1, 1]);
    assert_eq!(presence.people(), 0);
    background.stop().await;
}
