//! How costs grow: with members, with chats, and with users who join and leave.

use std::{
    io,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use tokio::time::sleep;

use crate::{
    Form,
    fanout::{ratios, rounds},
    posts::Poster,
    report::{Figure, Goal, Report, median},
    room::settle,
    target::{Member, Running, Target, expect, session, start_chat},
    wire::Wire,
};

/// The number of users who join at the same time.
const AT_ONCE: usize = 128;
/// The number of chats that are started while home pages are open. They are started [`BETWEEN`] apart, which is longer
/// than the interval of updates of the lobby.
const NEW_CHATS: usize = 10;
const BETWEEN: Duration = Duration::from_millis(350);
/// The number of rounds with large rooms: a round with ten thousand members takes half a minute.
const LARGE_ROUNDS: usize = 3;
/// The number of members from which on a delivery should cost little more than its write.
const GOAL_FROM: usize = 1_000;
/// The number of chats, users or messages from which on nothing is shared because there are few.
const MANY: usize = 100;
/// The factor within which two costs count as the same, on machines as noisy as these.
const FLAT: f64 = 2.0;

pub(crate) async fn measure(form: &Form, report: &mut Report) -> io::Result<()> {
    deliveries(form, report).await?;
    posts(form, report).await?;
    presence(form, report).await?;
    lobby(form, report).await
}

/// Adds a figure for each size. The sizes above the first one of at least `from` have the goal to cost at most [`FLAT`]
/// times as much as it.
fn add(report: &mut Report, label: impl Fn(usize) -> String, from: usize, of: &[(usize, Vec<f64>)]) {
    let first = of.iter().find(|(size, _)| *size >= from);
    for (size, rounds) in of {
        let figure = Figure::of(label(*size), "µs", rounds);
        report.add(match first {
            Some((first, of_first)) if size > first => {
                figure.with_goal(Goal::AtMost(FLAT * median(of_first)))
            }
            _ => figure,
        });
    }
}

/// Measures rooms of ten to ten thousand members: the cost of a delivery does not grow.
async fn deliveries(form: &Form, report: &mut Report) -> io::Result<()> {
    let (mut paced, mut flat_out) = (Vec::new(), Vec::new());
    for members in form.sizes.iter().copied() {
        let messages = (form.messages * 100 / members).clamp(40, 2_000);
        // More than one round if there is a goal.
        let rounds_here = if members >= GOAL_FROM { form.rounds.min(LARGE_ROUNDS) } else { 1 };
        let of_size = Form { rounds: rounds_here, messages, ..form.clone() };
        let done = rounds(&of_size, &[Target::Bare, Target::Qchat], members).await?;
        let [bare, qchat] = &done[..] else { return Err(io::Error::other("a target is missing")) };
        paced.push((members, qchat.cpu_paced.clone()));
        flat_out.push((members, qchat.cpu_flat_out.clone()));
        let against = Figure::of(
            format!("{members} members: CPU per delivery relative to the bare loop, one message at a time"),
            "×",
            &ratios(&qchat.cpu_paced, &bare.cpu_paced),
        );
        // In a large room, more deliveries share the fixed cost of a message.
        report.add(if members >= GOAL_FROM { against.with_goal(Goal::AtMost(1.25)) } else { against });
    }
    add(report, |members| format!("{members} members: CPU per delivery, one message at a time"), 0, &paced);
    add(report, |members| format!("{members} members: CPU per delivery, maximum throughput"), 0, &flat_out);
    Ok(())
}

/// Measures posts in one to ten thousand chats with one listener each. The same users post in one chat after the other,
/// from outside: one at a time, and all of them at once.
async fn posts(form: &Form, report: &mut Report) -> io::Result<()> {
    let (mut paced, mut flat_out) = (Vec::new(), Vec::new());
    for chats in [1].into_iter().chain(form.sizes.iter().copied()) {
        let server = Target::Qchat.start().await?;
        let mut rooms = Vec::new();
        while rooms.len() < chats {
            let coming = AT_ONCE.min(chats - rooms.len());
            rooms.extend(try_join_all((0..coming).map(|_| room(&server))).await?);
        }
        let mut speakers = try_join_all((0..MANY).map(|_| Poster::pass_by(&server))).await?;
        settle(&server).await?;
        for (at_once, costs) in [(1, &mut paced), (MANY, &mut flat_out)] {
            let posts = if at_once == 1 { form.messages * 4 } else { chats.max(form.messages * 20) };
            // Far apart, if there are more chats than posts.
            let place = |number| number * (chats / posts).max(1) % chats;
            let cpu = server.watched.cpu()?;
            for first in (0..posts).step_by(at_once) {
                let turn = first..posts.min(first + at_once);
                for number in turn.clone() {
                    speakers[number % MANY].post_in(&server, &rooms[place(number)].0).await?;
                }
                for number in turn.clone() {
                    speakers[number % MANY].answer().await?;
                }
                for number in turn {
                    expect(&mut rooms[place(number)].1, r#"{"event""#).await?;
                }
            }
            let cpu = server.watched.cpu()?.saturating_sub(cpu);
            costs.push((chats, vec![cpu.as_secs_f64() * 1e6 / posts as f64]));
        }
    }
    add(report, |chats| format!("{chats} chats: CPU per post, one at a time"), 0, &paced);
    // With fewer chats than concurrent posts, some posts share a write to the listener and an update of the stored
    // chat.
    add(report, |chats| format!("{chats} chats: CPU per post, {MANY} at once"), MANY, &flat_out);
    Ok(())
}

/// Starts a chat, and joins it as a listener.
async fn room(server: &Running) -> io::Result<(String, Wire)> {
    let chat = start_chat(server.address).await?;
    let listener = server.join_chat(&chat).await?;
    Ok((chat, listener))
}

/// Measures rooms that fill: the cost of each member who joins, until all others know.
async fn presence(form: &Form, report: &mut Report) -> io::Result<()> {
    let (mut costs, mut took) = (Vec::new(), Vec::new());
    for members in form.sizes.iter().copied() {
        let server = Target::Qchat.start().await?;
        // Sessions are created before, since each takes a page.
        let mut sessions = Vec::new();
        while sessions.len() < members {
            let asking = (0..AT_ONCE.min(members - sessions.len())).map(|_| session(server.address));
            sessions.extend(try_join_all(asking).await?);
        }
        settle(&server).await?;
        let (cpu, began) = (server.watched.cpu()?, Instant::now());
        let mut here = Vec::new();
        while !sessions.is_empty() {
            let coming = sessions.drain(..AT_ONCE.min(sessions.len()));
            here.extend(
                try_join_all(coming.map(|cookie| Member::arrive_as(&server, &server.chat, cookie))).await?,
            );
        }
        settle(&server).await?;
        let cpu = server.watched.cpu()?.saturating_sub(cpu);
        costs.push((members, vec![cpu.as_secs_f64() * 1e6 / members as f64]));
        took.push((members, began.elapsed().as_secs_f64()));
    }
    // In a small room all members are announced at once, and the first ones bear the fixed costs.
    add(report, |members| format!("{members} members: CPU per join"), MANY, &costs);
    for (members, seconds) in took {
        report.add(Figure::of(
            format!("{members} members: time until all have joined and know of each other"),
            "s",
            &[seconds],
        ));
    }
    Ok(())
}

/// Measures open home pages: the cost of telling each of a new chat.
async fn lobby(form: &Form, report: &mut Report) -> io::Result<()> {
    let mut costs = Vec::new();
    for pages in form.sizes.iter().copied().filter(|pages| *pages >= 100 || form.sizes.len() == 1) {
        let server = Target::Qchat.start().await?;
        let mut open = Vec::new();
        while open.len() < pages {
            let coming = (0..AT_ONCE.min(pages - open.len())).map(|_| server.visit_home());
            open.extend(try_join_all(coming).await?);
        }
        settle(&server).await?;
        let cpu = server.watched.cpu()?;
        for _ in 0..NEW_CHATS {
            start_chat(server.address).await?;
            sleep(BETWEEN).await;
        }
        for page in &mut open {
            // Fails by waiting for ever if a page was not told.
            expect(page, r#"{"lobby_change""#).await?;
        }
        settle(&server).await?;
        let cpu = server.watched.cpu()?.saturating_sub(cpu);
        costs.push((pages, vec![cpu.as_secs_f64() * 1e6 / (pages * NEW_CHATS) as f64]));
    }
    add(report, |pages| format!("{pages} home pages: CPU per page that is sent a new chat"), 0, &costs);
    Ok(())
}
