//! How cost grows: with members, with chats, and with those who come and go.

use std::{io, time::Instant};

use futures_util::future::try_join_all;

use crate::{
    Form,
    fanout::{ratios, rounds},
    posts::Poster,
    report::{Figure, Goal, Report},
    room::settle,
    target::{Member, Target},
};

/// Who comes at the same time.
const AT_ONCE: usize = 128;
/// What may be a cost twice as high is the same cost, on machines as noisy as these.
const FLAT: f64 = 2.0;

pub(crate) async fn measure(form: &Form, report: &mut Report) -> io::Result<()> {
    deliveries(form, report).await?;
    posts(form, report).await?;
    presence(form, report).await
}

/// Adds a figure for each size, each to be no more than so many times that of the first.
fn add(report: &mut Report, what: impl Fn(usize) -> String, of: &[(usize, f64)]) {
    let first = of.first().map_or(f64::NAN, |(_, value)| *value);
    for (size, value) in of {
        report.add(Figure::of(what(*size), "µs", &[*value]).with_goal(Goal::AtMost(FLAT * first)));
    }
}

/// Rooms of ten to ten thousand: what a delivery costs does not grow.
async fn deliveries(form: &Form, report: &mut Report) -> io::Result<()> {
    let (mut paced, mut flat_out) = (Vec::new(), Vec::new());
    for members in form.sizes.iter().copied() {
        let messages = (form.messages * 100 / members).clamp(20, 2_000);
        let once = Form { rounds: 1, messages, ..form.clone() };
        let done = rounds(&once, &[Target::Bare, Target::Qchat], members).await?;
        let [bare, qchat] = &done[..] else { return Err(io::Error::other("a target is missing")) };
        paced.push((members, qchat.cpu_paced[0]));
        flat_out.push((members, qchat.cpu_flat_out[0]));
        let against = Figure::of(
            format!("members {members}: processor a delivery against the bare loop, one message at a time"),
            "×",
            &ratios(&qchat.cpu_paced, &bare.cpu_paced),
        );
        // what a message costs by itself is shared by more in a large room
        report.add(if members >= 1_000 { against.with_goal(Goal::AtMost(1.25)) } else { against });
    }
    add(report, |members| format!("members {members}: processor a delivery, one message at a time"), &paced);
    add(report, |members| format!("members {members}: processor a delivery, flat out"), &flat_out);
    Ok(())
}

/// One to ten thousand chats, somebody in each, the same number of posts spread over all of them.
async fn posts(form: &Form, report: &mut Report) -> io::Result<()> {
    let mut costs = Vec::new();
    for chats in [1].into_iter().chain(form.sizes.iter().copied()) {
        let server = Target::Qchat.start().await?;
        let mut posters = Vec::new();
        while posters.len() < chats {
            let coming = AT_ONCE.min(chats - posters.len());
            posters.extend(try_join_all((0..coming).map(|_| Poster::arrive(&server))).await?);
        }
        settle(&server).await?;
        let posts = form.messages * 20;
        let cpu = server.watched.cpu()?;
        let mut done = 0;
        while done < posts {
            // as many on their way at once, whether to one chat or to many
            let turn = AT_ONCE.min(posts - done);
            for number in done..done + turn {
                posters[number % chats].post(&server).await?;
            }
            for number in done..done + turn {
                posters[number % chats].answer().await?;
            }
            done += turn;
        }
        let cpu = server.watched.cpu()?.saturating_sub(cpu);
        costs.push((chats, cpu.as_secs_f64() * 1e6 / posts as f64));
    }
    add(report, |chats| format!("chats {chats}: processor a post"), &costs);
    Ok(())
}

/// Rooms that fill: what it costs that somebody comes, until everybody knows.
async fn presence(form: &Form, report: &mut Report) -> io::Result<()> {
    let (mut costs, mut took) = (Vec::new(), Vec::new());
    for members in form.sizes.iter().copied() {
        let server = Target::Qchat.start().await?;
        settle(&server).await?;
        let (cpu, began) = (server.watched.cpu()?, Instant::now());
        let mut here = Vec::new();
        while here.len() < members {
            let coming = (0..AT_ONCE.min(members - here.len())).map(|_| Member::arrive(&server));
            here.extend(try_join_all(coming).await?);
        }
        settle(&server).await?;
        let cpu = server.watched.cpu()?.saturating_sub(cpu);
        costs.push((members, cpu.as_secs_f64() * 1e6 / members as f64));
        took.push((members, began.elapsed().as_secs_f64()));
    }
    // in a small room everybody is told of everybody at once, and the first to come pay for what is there once
    let first = costs.iter().find(|(members, _)| *members >= 100).or(costs.first()).map(|(_, cost)| *cost);
    for (members, cost) in costs {
        let figure = Figure::of(format!("members {members}: processor for each who comes"), "µs", &[cost]);
        report.add(figure.with_goal(Goal::AtMost(FLAT * first.unwrap_or(f64::NAN))));
    }
    for (members, seconds) in took {
        report.add(Figure::of(format!("members {members}: until all are there and know"), "s", &[seconds]));
    }
    Ok(())
}
