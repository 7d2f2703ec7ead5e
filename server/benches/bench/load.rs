//! How long a message takes to the last of a room while more and more are said.

use std::io;

use crate::{
    Form,
    plot::{Line, Plot},
    report::{Figure, Report, percentile},
    room::{Heard, Room},
    target::Target,
};

/// Those who say something, in turns.
const POSTERS: usize = 8;
/// Times that a load is tried. Where it is not kept up with more often than it is, it is too much: once may be the machine.
const TRIES: usize = 3;
/// Of fewer messages no hundredth part is told.
const ENOUGH: usize = 100;

/// A target, and what came of it so far.
struct Loaded {
    room: Room,
    half: Line,
    most: Line,
    keeps_up: bool,
}

impl Loaded {
    async fn start(target: Target, form: &Form) -> io::Result<Self> {
        let room = Room::fill(target.start().await?, form.members, POSTERS).await?;
        room.paced(form.messages / 10 + 1).await?;
        let line = |part: &str, is_dashed| {
            let name = format!("{}, {part}", target.name());
            Line { name, points: Vec::new(), is_dashed }
        };
        Ok(Self { room, half: line("p50", false), most: line("p99", true), keeps_up: true })
    }

    /// Notes how long messages took to the last, or that there were too many.
    fn note(&mut self, target: Target, load: f64, tries: &[(Heard, bool)], form: &Form, report: &mut Report) {
        let members = form.members;
        self.keeps_up = 2 * tries.iter().filter(|(_, is_kept_up)| *is_kept_up).count() > tries.len();
        if !self.keeps_up {
            let name = target.name();
            return report
                .note(format!("{name} does not keep up with {load} messages a second to {members}."));
        }
        let took: Vec<_> = tries.iter().flat_map(|(heard, _)| heard.took.iter().copied()).collect();
        let (half, most) = (&mut self.half, &mut self.most);
        for (name, part, line, least) in [("p50", 0.5, half, 1), ("p99", 0.99, most, ENOUGH)] {
            if took.len() >= least {
                let figure = percentile(&took, part);
                line.points.push((load, figure));
                let of = target.name();
                let what = format!("{of}: post to last of {members} at {load} messages a second, {name}");
                report.add(Figure::of(what, "ms", &[figure]));
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
        loaded.push((target, Loaded::start(target, form).await?));
    }
    for load in form.loads.iter().copied() {
        let mut tries: Vec<_> = loaded.iter().map(|_| Vec::new()).collect();
        for _ in 0..TRIES {
            for ((_, loaded), tries) in loaded.iter().zip(&mut tries).filter(|((_, of), _)| of.keeps_up) {
                tries.push(loaded.room.at_rate(load, form.flat_out).await?);
            }
        }
        for ((target, loaded), tries) in loaded.iter_mut().zip(&tries).filter(|((_, of), _)| of.keeps_up) {
            loaded.note(*target, load, tries, form, report);
        }
    }
    report.plot(Plot {
        file: "latency.svg",
        title: format!("Post to last of {}: a line ends where it is no longer kept up with", form.members),
        x: "messages a second",
        y: "milliseconds",
        lines: loaded.into_iter().flat_map(|(_, loaded)| [loaded.half, loaded.most]).collect(),
    });
    Ok(())
}
