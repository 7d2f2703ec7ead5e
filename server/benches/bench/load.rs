//! The latency to the last member of a room at increasing loads.

use std::io;

use crate::{
    Form,
    plot::{Line, Plot},
    report::{Figure, Report, percentile},
    room::{Heard, Room},
    target::Target,
};

/// The number of members who post, in turns.
const POSTERS: usize = 8;
/// The number of attempts at each load. A load has to be sustained in more than half of them: a single failure may be
/// due to the machine.
const TRIES: usize = 3;
/// The minimum number of messages for a 99th percentile.
const ENOUGH: usize = 100;

/// A target and its results so far.
struct Loaded {
    target: Target,
    /// `None` once it cannot sustain the load: its heartbeats would disturb the others.
    room: Option<Room>,
    half: Line,
    most: Line,
}

impl Loaded {
    async fn start(target: Target, form: &Form) -> io::Result<Self> {
        let room = Room::fill(target.start().await?, form.members, POSTERS).await?;
        room.paced(form.messages / 10 + 1).await?;
        let line = |part: &str, is_dashed| {
            let name = format!("{}, {part}", target.name());
            Line { name, points: Vec::new(), is_dashed }
        };
        Ok(Self { target, room: Some(room), half: line("p50", false), most: line("p99", true) })
    }

    /// Records the latencies at a load, or that it was too high.
    fn note(&mut self, load: f64, tries: Vec<(Heard, bool)>, members: usize, report: &mut Report) {
        let name = self.target.name();
        if 2 * tries.iter().filter(|(_, is_kept_up)| *is_kept_up).count() <= tries.len() {
            self.room = None;
            return report.note(format!("{name} does not keep up with {load} posts/s to {members} members."));
        }
        let took: Vec<_> = tries.into_iter().map(|(heard, _)| heard.took).collect();
        let (half, most) = (&mut self.half, &mut self.most);
        for (part_name, part, line, least) in [("p50", 0.5, half, 1), ("p99", 0.99, most, ENOUGH)] {
            if took.iter().map(Vec::len).sum::<usize>() >= least {
                let label = format!(
                    "{name}: latency to the last of {members} members at {load} posts/s, {part_name}"
                );
                line.points.push((load, percentile(&took.concat(), part)));
                report.add(Figure::of_times(label, part, &took));
            }
        }
    }
}

/// Measures all targets at one load after the other, in turns.
pub(crate) async fn measure(form: &Form, report: &mut Report) -> io::Result<()> {
    let all = [Target::Qchat, Target::Ws, Target::SocketIo];
    let targets = if form.peers { &all[..] } else { &all[..1] };
    let mut loaded = Vec::new();
    for target in targets.iter().copied() {
        loaded.push(Loaded::start(target, form).await?);
    }
    for load in form.loads.iter().copied() {
        let mut tries: Vec<_> = loaded.iter().map(|_| Vec::new()).collect();
        for _ in 0..TRIES {
            for (loaded, tries) in loaded.iter().zip(&mut tries) {
                if let Some(room) = &loaded.room {
                    tries.push(room.at_rate(load, form.flat_out).await?);
                }
            }
        }
        for (loaded, tries) in loaded.iter_mut().zip(tries).filter(|(of, _)| of.room.is_some()) {
            loaded.note(load, tries, form.members, report);
        }
    }
    report.plot(Plot {
        file: "latency.svg",
        title: format!("Latency to the last of {} members, up to the load it keeps up with", form.members),
        x: "posts/s",
        y: "latency in ms",
        lines: loaded.into_iter().flat_map(|loaded| [loaded.half, loaded.most]).collect(),
    });
    Ok(())
}
