//! Fan-out of a message to all members of a room: the cost, the latency, and the throughput.

use std::{io, time::Duration};

use crate::{
    Form,
    report::{Figure, Goal, Report, percentile},
    room::{Heard, Room},
    target::Target,
};

/// The number of members who post flat out. Each has [`AT_ONCE`] messages in flight.
const POSTERS: usize = 8;
const AT_ONCE: usize = 32;

/// The results of one target in all rounds.
#[derive(Default)]
pub(crate) struct Done {
    /// The processor time of a delivery in microseconds, one message at a time, in each round.
    pub(crate) cpu_paced: Vec<f64>,
    /// The processor time of a delivery in microseconds, flat out, in each round.
    pub(crate) cpu_flat_out: Vec<f64>,
    rate: Vec<f64>,
    /// The number of deliveries in one read, flat out, in each round.
    at_once: Vec<f64>,
    /// How long messages took to the last member, in each round.
    took: Vec<Vec<Duration>>,
}

fn micros(heard: &Heard) -> f64 {
    heard.cpu.as_secs_f64() * 1e6 / heard.deliveries as f64
}

/// Divides each value by that of the same round.
pub(crate) fn ratios(values: &[f64], of: &[f64]) -> Vec<f64> {
    values.iter().zip(of).map(|(value, of)| value / of).collect()
}

/// Measures all targets in a room of `members`, in turns.
pub(crate) async fn rounds(form: &Form, targets: &[Target], members: usize) -> io::Result<Vec<Done>> {
    let mut done: Vec<Done> = targets.iter().map(|_| Done::default()).collect();
    for _ in 0..form.rounds {
        for (target, done) in targets.iter().zip(&mut done) {
            let room = Room::fill(target.start().await?, members, POSTERS).await?;
            room.paced(form.messages / 10 + 1).await?;
            let paced = room.paced(form.messages).await?;
            done.cpu_paced.push(micros(&paced));
            done.took.push(paced.took);
            room.flat_out(AT_ONCE, form.flat_out / 5).await?;
            let flat_out = room.flat_out(AT_ONCE, form.flat_out).await?;
            done.cpu_flat_out.push(micros(&flat_out));
            done.at_once.push(flat_out.deliveries as f64 / flat_out.reads.max(1) as f64);
            done.rate.push(flat_out.deliveries as f64 / flat_out.elapsed.as_secs_f64());
        }
    }
    Ok(done)
}

/// Measures the room of the form, along with the peers if they are wanted.
pub(crate) async fn measure(form: &Form, report: &mut Report) -> io::Result<()> {
    let all = [Target::Bare, Target::Qchat, Target::Ws, Target::SocketIo];
    let targets = if form.peers { &all[..] } else { &all[..2] };
    let members = form.members;
    let done = rounds(form, targets, members).await?;
    let [bare, qchat, peers @ ..] = &done[..] else { return Err(io::Error::other("a target is missing")) };
    for (target, done) in targets.iter().zip(&done) {
        let name = target.name();
        report.add(Figure::of(
            format!("{name}: CPU per delivery, one message at a time, {members} members"),
            "µs",
            &done.cpu_paced,
        ));
        for (part_name, part) in [("p50", 0.5), ("p99", 0.99)] {
            let label = format!("{name}: latency to the last of {members} members, {part_name}");
            report.add(Figure::of_times(label, part, &done.took));
        }
        report.add(Figure::of(
            format!("{name}: CPU per delivery, maximum throughput"),
            "µs",
            &done.cpu_flat_out,
        ));
        report.add(Figure::of(format!("{name}: deliveries, maximum throughput"), "/s", &done.rate));
        report.add(Figure::of(format!("{name}: deliveries per read, maximum throughput"), "", &done.at_once));
    }
    let compare = |label: &str, values: &[f64], of: &[f64], goal| {
        Figure::of(label, "×", &ratios(values, of)).with_goal(goal)
    };
    report.add(compare(
        &format!("CPU per delivery relative to the bare loop, one message at a time, {members} members"),
        &qchat.cpu_paced,
        &bare.cpu_paced,
        Goal::AtMost(1.25),
    ));
    report.add(compare(
        "CPU per delivery at maximum throughput relative to the bare loop, one message at a time",
        &qchat.cpu_flat_out,
        &bare.cpu_paced,
        Goal::AtMost(0.25),
    ));
    for (peer, target) in peers.iter().zip(&targets[2..]) {
        let label = format!("deliveries at maximum throughput relative to {}", target.name());
        report.add(compare(&label, &qchat.rate, &peer.rate, Goal::AtLeast(12.0)));
    }
    for (name, part, most) in [("p50", 0.5, 1.5), ("p99", 0.99, 3.0)] {
        let of = |done: &Done| done.took.iter().map(|took| percentile(took, part)).collect::<Vec<_>>();
        let label = format!("latency to the last of {members} members relative to the bare loop, {name}");
        report.add(compare(&label, &of(qchat), &of(bare), Goal::AtMost(most)));
    }
    Ok(())
}
