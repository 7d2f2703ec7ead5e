//! Who is here, for whom, and for how long.

use domain::{Nickname, id::ID_BYTES, roster::RosterChange};
use futures_util::FutureExt;
use tokio::time::{advance, sleep};

use bytes::Bytes;

use super::{
    room::{BATCH_INTERVAL, REMEMBERED_CHANGES},
    *,
};
use crate::clock;

const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);

fn user(number: u8, name: &str) -> User {
    User { id: UserId::from_bytes([number; ID_BYTES]), nickname: Nickname::parse(name).unwrap() }
}

fn presence() -> Arc<Presence> {
    Arc::new(Presence::new(NodeId::ALONE, GRACE, clock::system()))
}

/// Returns the news for a connection that knows a version.
fn news(member_guard: &MemberGuard, known: Option<u64>) -> Option<RosterUpdate> {
    let (version, bytes) = member_guard.news(known, |news| {
        let bytes = match news {
            RosterUpdate::Whole(roster) => serde_json::to_vec(&(Some(roster), None::<RosterChange>)),
            RosterUpdate::Change(change) => serde_json::to_vec(&(None::<Roster>, Some(change))),
        };
        Some(bytes.unwrap().into())
    })?;
    match serde_json::from_slice::<(Option<Roster>, Option<RosterChange>)>(&bytes).unwrap() {
        (Some(roster), _) => {
            assert_eq!(roster.version, version);
            Some(RosterUpdate::Whole(roster))
        }
        (None, change) => {
            assert_eq!(change.as_ref().map(|change| change.version), Some(version));
            change.map(RosterUpdate::Change)
        }
    }
}

fn names(presence: &Presence) -> Vec<String> {
    presence.roster(CHAT).members.iter().map(|member| member.nickname.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_person_with_three_tabs_is_one_member_until_the_last_closes() {
    let presence = presence();
    let mut holders: Vec<_> = (0..3).map(|_| presence.join(CHAT, user(1, "Ana"), Arc::default())).collect();
    assert_eq!(names(&presence), ["Ana"]);
    let version = presence.roster(CHAT).version;
    holders.truncate(1);
    advance(GRACE * 2).await;
    presence.depart(Instant::now());
    assert_eq!(presence.roster(CHAT).version, version, "tabs that open and close do not change the roster");
    drop(holders);
    presence.depart(Instant::now() + GRACE);
    assert_eq!(names(&presence), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_reload_does_not_flicker() {
    let presence = presence();
    let _other = presence.join(CHAT, user(2, "Bea"), Arc::default());
    let member_guard = presence.join(CHAT, user(1, "Ana"), Arc::default());
    let version = presence.roster(CHAT).version;
    drop(member_guard);
    advance(GRACE / 2).await;
    let _guard = presence.join(CHAT, user(1, "Ana"), Arc::default());
    advance(GRACE * 2).await;
    presence.depart(Instant::now());
    assert_eq!(presence.roster(CHAT).version, version);
}

#[tokio::test(start_paused = true)]
async fn a_member_who_stays_away_is_removed_by_the_running_task() {
    let presence = presence();
    let running = tokio::spawn({
        let presence = Arc::clone(&presence);
        async move { presence.run().await }
    });
    let wake = Arc::default();
    let _other = presence.join(CHAT, user(2, "Bea"), Arc::clone(&wake));
    drop(presence.join(CHAT, user(1, "Ana"), Arc::default()));
    while names(&presence) != ["Bea"] {
        wake.notified().await;
    }
    running.abort();
}

#[test]
fn a_watcher_is_told_the_difference_to_what_it_knows() {
    let presence = presence();
    let member_guard = presence.join(CHAT, user(1, "Ana"), Arc::default());
    let Some(RosterUpdate::Whole(mut mine)) = news(&member_guard, None) else { panic!("nothing") };
    assert_eq!(news(&member_guard, Some(mine.version)), None);
    let _bea = presence.join(CHAT, user(2, "Bea"), Arc::default());
    drop(presence.join(CHAT, user(3, "Cy"), Arc::default()));
    presence.depart(Instant::now() + GRACE * 2);
    presence.rename(&user(1, "Anna"));
    let Some(RosterUpdate::Change(change)) = news(&member_guard, Some(mine.version)) else {
        panic!("nothing")
    };
    mine.apply(change);
    assert_eq!(mine, presence.roster(CHAT));
}

#[tokio::test(start_paused = true)]
async fn typing_lasts_for_three_seconds_after_the_last_signal_or_until_it_is_said() {
    let presence = presence();
    let member_guard = presence.join(CHAT, user(1, "Ana"), Arc::default());
    let is_typing = || presence.roster(CHAT).members[0].typing;
    assert!(!is_typing());
    for _ in 0..3 {
        member_guard.typing();
        let version = presence.roster(CHAT).version;
        for _ in 0..1_000 {
            member_guard.typing();
        }
        assert_eq!(presence.lock().typing_until.len(), 1, "many signals are one");
        advance(TYPING - Duration::from_millis(10)).await;
        presence.depart(Instant::now());
        assert!(is_typing());
        member_guard.typing();
        assert_eq!(presence.roster(CHAT).version, version, "going on is no change");
        advance(TYPING - Duration::from_millis(10)).await;
        presence.depart(Instant::now());
        assert!(is_typing());
        advance(Duration::from_millis(10)).await;
        presence.depart(Instant::now());
        assert!(!is_typing());
    }
    member_guard.typing();
    presence.said(CHAT, user(1, "Ana").id);
    assert!(!is_typing());
}

#[test]
fn a_watcher_far_behind_is_told_everything() {
    let presence = presence();
    let member_guard = presence.join(CHAT, user(1, "Ana"), Arc::default());
    for round in 0..REMEMBERED_CHANGES {
        presence.rename(&user(1, &format!("Ana {round}")));
    }
    assert!(matches!(news(&member_guard, Some(0)), Some(RosterUpdate::Whole(_))));
    assert!(matches!(news(&member_guard, Some(1)), Some(RosterUpdate::Change(_))));
}

#[test]
fn nothing_is_left_of_an_empty_room() {
    let presence = presence();
    let member_guard = presence.join(CHAT, user(1, "Ana"), Arc::default());
    member_guard.typing();
    drop(member_guard);
    presence.depart(Instant::now() + GRACE * 2);
    let state = presence.lock();
    assert!(state.rooms.is_empty() && state.places.is_empty() && state.departures.is_empty());
    assert!(state.typing_until.is_empty() && state.wakes.is_empty());
}

fn numbered(number: u32) -> User {
    let mut bytes = [0; ID_BYTES];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    User::new(UserId::from_bytes(bytes))
}

#[tokio::test(start_paused = true)]
async fn a_large_room_is_told_in_batches_and_names_only_the_latest_members() {
    let presence = presence();
    let wake = Arc::default();
    let member_guard = presence.join(CHAT, numbered(0), Arc::clone(&wake));
    let mut known = Roster::default();
    let mut holders = Vec::new();
    let catch_up =
        |member_guard: &MemberGuard, known: &mut Roster| match news(member_guard, Some(known.version)) {
            Some(RosterUpdate::Whole(roster)) => *known = roster,
            Some(RosterUpdate::Change(change)) => known.apply(change),
            None => {}
        };
    let mut wakes = 0;
    for number in 1..=300 {
        holders.push(presence.join(CHAT, numbered(number), Arc::default()));
        if number % 10 == 0 {
            catch_up(&member_guard, &mut known);
            // Whether the watcher was notified.
            let rang =
                tokio::select! { biased; () = wake.notified() => true, () = std::future::ready(()) => false };
            wakes += u32::from(rang);
        }
    }
    assert!(wakes <= 1 + SMALL_ROOM as u32 / 10, "one batch at a time: {wakes}");
    catch_up(&member_guard, &mut known);
    presence.depart(Instant::now() + BATCH_INTERVAL);
    wake.notified().await;
    holders.drain(250..).for_each(drop);
    presence.depart(Instant::now() + GRACE);
    catch_up(&member_guard, &mut known);
    assert_eq!(known, presence.roster(CHAT));
    assert_eq!((known.count, known.members.len()), (251, domain::roster::ROSTER_LIMIT));
    holders.drain(..200).for_each(drop);
    presence.depart(Instant::now() + GRACE);
    catch_up(&member_guard, &mut known);
    assert_eq!(known, presence.roster(CHAT));
    assert_eq!((known.count, known.members.len()), (51, 51));
}

#[tokio::test(start_paused = true)]
async fn in_a_large_room_watchers_of_one_version_get_the_same_bytes_and_all_end_up_with_the_whole_roster() {
    let presence = presence();
    let join = |number| {
        let wake = Arc::default();
        (presence.join(CHAT, numbered(number), Arc::clone(&wake)), wake)
    };
    let next_batch = async || {
        advance(BATCH_INTERVAL).await;
        presence.depart(Instant::now());
    };
    let mut watchers: Vec<_> = (0..300).map(join).collect();
    next_batch().await;
    let times = std::cell::Cell::new(0);
    let tell = |(member_guard, _): &(MemberGuard, Arc<Notify>), known| {
        let encoded = |_| {
            times.set(times.get() + 1);
            Some(Bytes::from_static(b"{}"))
        };
        member_guard.news(known, encoded)
    };
    let first: HashSet<_> = watchers.iter().map(|watcher| tell(watcher, None)).collect();
    assert_eq!((first.len(), times.get()), (1, 1));
    let known = first.iter().flatten().map(|(version, _)| *version).next();
    // Connections that join before the next batch get what the others got, and are notified with them.
    watchers.extend((300..310).map(join));
    assert_eq!(watchers[300..].iter().map(|watcher| tell(watcher, None)).collect::<HashSet<_>>(), first);
    next_batch().await;
    for (_, wake) in &watchers {
        wake.notified().await;
    }
    let Some(RosterUpdate::Change(change)) = news(&watchers[0].0, known) else { panic!("nothing") };
    assert_eq!((change.count, change.version), (310, presence.roster(CHAT).version));
    assert!(watchers.iter().all(|watcher| tell(watcher, known).is_some() && times.get() == 1));
    assert_eq!(news(&watchers[309].0, None), Some(RosterUpdate::Whole(presence.roster(CHAT))));
}

#[tokio::test(start_paused = true)]
async fn in_a_large_room_the_end_of_typing_is_told_with_the_next_batch() {
    let presence = presence();
    let running = tokio::spawn({
        let presence = Arc::clone(&presence);
        async move { presence.run().await }
    });
    let members: Vec<_> =
        (0..300).map(|number| presence.join(CHAT, numbered(number), Arc::default())).collect();
    let typing = || presence.roster(CHAT).members.iter().filter(|member| member.typing).count();
    sleep(BATCH_INTERVAL * 2).await;
    members[299].typing();
    sleep(BATCH_INTERVAL * 2).await;
    assert_eq!(typing(), 1);
    // the next batch has just been sent
    let wake = Arc::<Notify>::default();
    let _watching = presence.join(CHAT, numbered(400), Arc::clone(&wake));
    sleep(Duration::from_millis(1)).await;
    while wake.notified().now_or_never().is_some() {}
    presence.said(CHAT, numbered(299).id);
    // long before the dots would have gone by themselves
    tokio::time::timeout(BATCH_INTERVAL * 2, wake.notified()).await.unwrap();
    assert_eq!(typing(), 0);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_user_who_leaves_was_seen_until_then_and_is_reported_once() {
    let presence = presence();
    let stays = [(); 2].map(|()| presence.arrive(numbered(1).id, Arc::default()));
    let member_guard = presence.join(CHAT, numbered(1), Arc::default());
    assert_eq!((presence.people(), presence.preview(CHAT).0), (1, 1));
    assert!(presence.take_active().users.contains_key(&numbered(1).id));
    drop(stays);
    drop(member_guard);
    assert!(presence.take_active().chats.contains_key(&CHAT), "for the grace, they are here");
    let _back = presence.arrive(numbered(1).id, Arc::default());
    presence.depart(Instant::now() + GRACE);
    assert_eq!((presence.people(), presence.take_departed(true).len()), (1, 0));
    drop(_back);
    presence.depart(Instant::now() + GRACE);
    assert_eq!(presence.take_departed(true), [numbered(1).id]);
    assert_eq!(presence.take_departed(true), []);
    let seen = presence.take_active();
    assert!(seen.users.contains_key(&numbered(1).id) && seen.chats.contains_key(&CHAT));
    assert_eq!(presence.take_active(), LastActive::default());
    assert_eq!(presence.take_moved().len(), 1);
}

/// An event of another node, whose number it begins with.
fn elsewhere(number: u64) -> HolderId {
    HolderId::new(NodeId(7), number)
}

fn joined(holder: HolderId, user: User) -> PresenceEvent {
    PresenceEvent::Joined { holder, chat: CHAT, user, here_for: Duration::ZERO }
}

#[test]
fn a_holder_has_its_node() {
    for (node, number) in [(0, 0), (7, 9), (u16::MAX, (1 << 48) - 1)] {
        assert_eq!(HolderId::new(NodeId(node), number).node(), NodeId(node));
    }
    assert_ne!(HolderId::new(NodeId(1), 2), HolderId::new(NodeId(2), 2));
}

#[tokio::test(start_paused = true)]
async fn a_user_on_two_nodes_is_one_member_for_as_long_as_one_of_them_has_a_connection() {
    let presence = presence();
    let ana = user(1, "Ana");
    let here = presence.join(CHAT, ana.clone(), Arc::default());
    let online = presence.arrive(ana.id, Arc::default());
    presence.apply(PresenceEvent::Opened { holder: elsewhere(1), user: ana.id }, None);
    presence.apply(joined(elsewhere(2), ana.clone()), None);
    assert_eq!((presence.people(), names(&presence)), (1, vec!["Ana".to_owned()]));
    drop((here, online));
    presence.depart(Instant::now() + 2 * GRACE);
    assert_eq!((presence.people(), names(&presence).len()), (1, 1), "she is here on the other node");

    presence.apply(PresenceEvent::Typing { chat: CHAT, user: ana.id }, None);
    assert!(presence.roster(CHAT).members[0].typing);
    presence.apply(PresenceEvent::Left { holder: elsewhere(2), chat: CHAT, user: ana.id }, None);
    presence.apply(PresenceEvent::Closed { holder: elsewhere(1), user: ana.id }, None);
    assert_eq!(presence.people(), 1, "for the grace");
    presence.depart(Instant::now() + 2 * GRACE);
    assert_eq!((presence.people(), names(&presence).len()), (0, 0));
    assert_eq!(presence.take_departed(true), [], "that is left to the node that she was on");
}

#[tokio::test(start_paused = true)]
async fn users_that_a_node_reported_go_with_it_and_no_others() {
    let presence = presence();
    let wake = Arc::<Notify>::default();
    let _here = presence.join(CHAT, user(1, "Ana"), Arc::clone(&wake));
    let _online = presence.arrive(user(1, "Ana").id, Arc::default());
    for (number, other) in [(2, user(2, "Bea")), (3, user(3, "Cy"))] {
        let node = if number == 2 { NodeId(7) } else { NodeId(8) };
        presence.apply(PresenceEvent::Opened { holder: HolderId::new(node, 1), user: other.id }, None);
        presence.apply(joined(HolderId::new(node, 2), other), None);
    }
    assert_eq!((presence.people(), names(&presence).len()), (3, 3));
    while wake.notified().now_or_never().is_some() {}
    presence.forget_node(NodeId(7));
    presence.depart(Instant::now() + 2 * GRACE);
    assert_eq!((presence.people(), names(&presence)), (2, vec!["Ana".to_owned(), "Cy".to_owned()]));
    assert!(wake.notified().now_or_never().is_some(), "who is here is told");
    presence.forget_node(NodeId(7));
    assert_eq!(presence.people(), 2);
}

/// Returns what was reported since the last call.
fn reports(presence: &Presence) -> (u64, Vec<Report>) {
    match presence.take_reports() {
        Reports::Changes { first, reports } => (first, reports),
        Reports::Overflowed => panic!("overflowed"),
    }
}

/// Applies what another node has reported.
fn apply(presence: &Presence, reports: &[Report]) {
    for report in reports {
        let event = report.event(NodeId(7), User::new).unwrap();
        presence.apply(event, None);
    }
}

#[tokio::test(start_paused = true)]
async fn what_happens_here_is_reported_in_its_order_with_numbers() {
    let presence = presence();
    let ana = user(1, "Ana").id;
    drop(presence.arrive(ana, Arc::default()));
    assert_eq!(reports(&presence), (1, vec![]), "a node that is alone reports nothing");
    let online = presence.arrive(ana, Arc::default());
    presence.report();
    let member_guard = presence.join(CHAT, user(1, "Ana"), Arc::default());
    member_guard.typing();
    member_guard.typing();
    presence.apply(joined(elsewhere(9), user(2, "Bea")), None);
    presence.apply(PresenceEvent::Typing { chat: CHAT, user: user(2, "Bea").id }, None);
    assert!(presence.reported().now_or_never().is_some());
    let (first, told) = reports(&presence);
    let [Report::Joined { holder, chat: CHAT, user, seconds: 0 }, Report::Typing { chat: CHAT, .. }] =
        told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((first, user), (1, ana), "what others do is not reported, nor is a signal that has no effect");
    drop(member_guard);
    drop(online);
    let (first, told) = reports(&presence);
    assert_eq!((first, told[0]), (3, Report::Left { holder, chat: CHAT, user }));
    assert!(matches!(told[1..], [Report::Closed { .. }]), "what was there before has its end, too");
    assert_eq!(presence.summary(), ReportSummary { told: 4, digest: 0 });
    assert_eq!(presence.whole(), (4, vec![]));
}

#[tokio::test(start_paused = true)]
async fn too_many_reports_are_dropped_and_the_numbers_go_on() {
    let presence = presence();
    presence.report();
    for number in 0..=REPORTS_LIMIT as u64 {
        presence.report_origin(CHAT, number);
    }
    presence.report_origin(CHAT, 7);
    assert_eq!(presence.take_reports(), Reports::Overflowed);
    assert_eq!(reports(&presence), (REPORTS_LIMIT as u64 + 3, vec![]));
    presence.report_origin(CHAT, 8);
    let next = vec![Report::ChatFrom { chat: CHAT, origin: 8 }];
    assert_eq!(reports(&presence), (REPORTS_LIMIT as u64 + 3, next));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_told_all_changes_and_one_that_was_told_the_whole_know_the_same() {
    let [here, one, other] = [(); 3].map(|()| presence());
    here.report();
    let mut guards = Vec::new();
    for number in 0..50 {
        guards.push((
            here.arrive(numbered(number).id, Arc::default()),
            here.join(CHAT, numbered(number), Arc::default()),
        ));
        apply(&one, &reports(&here).1);
        advance(Duration::from_secs(1)).await;
    }
    // What the log removes stays reported until its connection notices.
    here.remove(CHAT, numbered(10).id);
    guards.drain(..5).for_each(drop);
    apply(&one, &reports(&here).1);
    one.remove(CHAT, numbered(10).id);
    let (told, whole) = here.whole();
    assert_eq!(ReportSummary { told, digest: one.digest_of(NodeId(7)) }, here.summary());
    apply(&other, &other.changes_to(NodeId(7), &whole));
    other.remove(CHAT, numbered(10).id);
    assert_eq!(other.digest_of(NodeId(7)), here.summary().digest);
    assert_eq!((one.whole_of(NodeId(7)).len(), other.whole_of(NodeId(7)).len()), (90, 90));
    // Who has been there for longest comes first.
    one.depart(Instant::now() + GRACE);
    assert_eq!(other.preview(CHAT).1, one.preview(CHAT).1);
    advance(COMING_BACK + Duration::from_secs(5)).await;
    let newcomers = |presence: &Presence| {
        let newcomers = presence.newcomers(CHAT, Duration::from_secs(50));
        newcomers.into_iter().collect::<HashSet<_>>()
    };
    here.depart(Instant::now() + GRACE);
    assert_eq!(newcomers(&one).len(), 15);
    assert_eq!([newcomers(&one), newcomers(&other)], [newcomers(&here), newcomers(&here)]);
}

#[tokio::test(start_paused = true)]
async fn a_whole_ends_what_is_not_in_it_begins_what_is_and_leaves_the_rest() {
    let presence = presence();
    let opened = |holder, number| Report::Opened { holder, user: numbered(number).id };
    let joined =
        |holder, number| Report::Joined { holder, chat: CHAT, user: numbered(number).id, seconds: number };
    apply(&presence, &[opened(1, 1), joined(2, 1), joined(3, 2), opened(4, 3)]);
    let whole = [opened(1, 1), joined(2, 1), joined(5, 9), joined(6, 90), opened(4, 4), joined(6, 90)];
    let changes = presence.changes_to(NodeId(7), &whole);
    let left = Report::Left { holder: 3, chat: CHAT, user: numbered(2).id };
    let closed = Report::Closed { holder: 4, user: numbered(3).id };
    assert_eq!(changes, [joined(6, 90), joined(5, 9), closed, opened(4, 4), left]);
    apply(&presence, &changes);
    assert_eq!(presence.changes_to(NodeId(7), &whole), []);
    apply(&presence, &changes);
    assert_eq!(
        presence.changes_to(NodeId(7), &whole),
        [],
        "what is applied twice has no effect the second time"
    );
    presence.depart(Instant::now() + 2 * GRACE);
    assert_eq!((presence.people(), presence.roster(CHAT).count), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_node_notes_as_active_what_is_used_here_and_leaves_the_rest_to_the_others() {
    let presence = presence();
    let other = ChatId::from_bytes([8; ID_BYTES]);
    let [ana, bea] = [user(1, "Ana"), user(2, "Bea")];
    let here = presence.join(CHAT, ana.clone(), Arc::default());
    let online = presence.arrive(ana.id, Arc::default());
    presence.take_arrivals();
    presence.apply(joined(elsewhere(1), bea.clone()), None);
    presence.apply(PresenceEvent::Opened { holder: elsewhere(2), user: bea.id }, None);
    let here_for = Duration::ZERO;
    let there = PresenceEvent::Joined { holder: elsewhere(3), chat: other, user: bea.clone(), here_for };
    presence.apply(there, None);
    assert_eq!(presence.take_arrivals(), LastActive::default());
    let seen = presence.take_active();
    assert_eq!((seen.users.keys().collect::<Vec<_>>(), seen.chats.len()), (vec![&ana.id], 1));
    presence.forget_node(NodeId(7));
    let seen = presence.take_active();
    assert_eq!((seen.users.len(), seen.chats.len()), (2, 2), "they may come back to any node");
    presence.depart(Instant::now() + GRACE);
    assert_eq!(presence.take_departed(false), [], "whoever is on duty takes care of those of a dead node");
    drop((here, online));
    presence.depart(Instant::now() + GRACE);
    assert_eq!(presence.take_departed(false), [ana.id]);
}

#[tokio::test(start_paused = true)]
async fn the_owner_of_a_chat_that_becomes_known_later_keeps_their_name_in_the_lock() {
    let presence = presence();
    let ana = user(1, "Ana");
    presence.apply(joined(elsewhere(1), ana.clone()), None);
    presence.started(CHAT, ana.id);
    presence.lock_names(CHAT, true, Seq(2));
    presence.rename(&user(1, "Anna"));
    assert_eq!(names(&presence), ["Anna"]);
}

#[tokio::test(start_paused = true)]
async fn rooms_of_chats_that_have_ended_unheard_are_closed_and_those_of_other_nodes_are_left() {
    let presence = presence();
    let [ended, foreign] = [8, 9].map(|number| ChatId::from_bytes([number; ID_BYTES]));
    let (ana, here_for) = (user(1, "Ana"), Duration::ZERO);
    let [kept, of_ended] = [CHAT, ended].map(|chat| presence.join(chat, ana.clone(), Arc::default()));
    let there = PresenceEvent::Joined { holder: elsewhere(1), chat: foreign, user: user(2, "Bea"), here_for };
    presence.apply(there, None);
    presence.close_ended(&HashSet::from([CHAT]));
    assert!(kept.is_kept());
    assert!(!of_ended.is_kept());
    assert_eq!(presence.roster(foreign).members.len(), 1, "its chat may not be known here yet");
}

#[tokio::test(start_paused = true)]
async fn who_has_gone_is_kept_until_it_is_known_who_is_on_other_nodes() {
    let presence = presence();
    presence.report();
    let [ana, bea] = [user(1, "Ana"), user(2, "Bea")];
    drop([&ana, &bea].map(|user| presence.arrive(user.id, Arc::default())));
    presence.depart(Instant::now() + GRACE);
    assert_eq!((presence.people(), presence.take_departed(true)), (0, vec![]));
    // Bea is on another node.
    presence.apply(PresenceEvent::Opened { holder: elsewhere(1), user: bea.id }, None);
    let mut left = std::pin::pin!(presence.user_left());
    presence.keep_gone(false);
    assert_eq!((&mut left).now_or_never(), Some(()));
    assert_eq!(presence.take_departed(false), [ana.id]);
    assert_eq!(presence.take_departed(true), []);
}

#[tokio::test(start_paused = true)]
async fn users_of_a_node_that_has_fallen_silent_have_left_when_they_were_gone_for_a_minute() {
    let presence = presence();
    let [ana, bea] = [user(1, "Ana"), user(2, "Bea")];
    for (holder, user) in [(elsewhere(1), &ana), (elsewhere(2), &bea)] {
        presence.apply(PresenceEvent::Opened { holder, user: user.id }, None);
    }
    presence.forget_node(NodeId(7));
    advance(GRACE).await;
    presence.depart(Instant::now());
    advance(UNHEARD - Duration::from_secs(1)).await;
    assert_eq!(presence.take_departed(true), [], "the node may be heard again");
    presence.apply(PresenceEvent::Opened { holder: elsewhere(1), user: bea.id }, None);
    advance(Duration::from_secs(1)).await;
    assert_eq!(presence.take_departed(true), [ana.id]);
}

#[tokio::test(start_paused = true)]
async fn who_has_returned_on_another_node_before_the_removal_was_read_is_there_when_they_may_return() {
    let presence = presence();
    let bea = user(2, "Bea");
    presence.apply(joined(elsewhere(1), bea.clone()), None);
    presence.apply(PresenceEvent::Left { holder: elsewhere(1), chat: CHAT, user: bea.id }, None);
    presence.apply(joined(elsewhere(2), bea.clone()), None);
    presence.remove(CHAT, bea.id);
    assert!(names(&presence).is_empty());
    for _ in 0..2 {
        presence.readmit(CHAT, &bea);
        assert_eq!(names(&presence), ["Bea"]);
    }
    presence.readmit(CHAT, &user(3, "Cem"));
    presence.apply(PresenceEvent::Left { holder: elsewhere(2), chat: CHAT, user: bea.id }, None);
    presence.depart(Instant::now() + GRACE);
    assert!(names(&presence).is_empty());
}
