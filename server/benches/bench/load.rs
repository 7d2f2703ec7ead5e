//! How long a message takes to the last of a room while more and more are said.

use std::io;

use crate::{
    Form,
    plot::{Line, Plot},
    report::{Figure, Report, percentile},
    room::Room,
    target::Target,
};

/// Those who say something, in turns.
const POSTERS: usize = 8;

pub(crate) async fn measure(form: &Form, report: &mut Report) -> io::Result<()> {
    let all = [Target::Qchat, Target::Ws, Target::SocketIo];
    let targets = if form.peers { &all[..] } else { &all[..1] };
    let members = form.members;
    let mut lines = Vec::new();
    for target in targets.iter().copied() {
        let room = Room::fill(target.start().await?, members, POSTERS).await?;
        room.paced(form.messages / 10 + 1).await?;
        let (mut half, mut most) = (Vec::new(), Vec::new());
        for load in form.loads.iter().copied() {
            let Some(heard) = room.at_rate(load, form.flat_out).await? else {
                report.note(format!(
                    "{} does not keep up with {load} messages a second to {members}.",
                    target.name()
                ));
                break;
            };
            let (p50, p99) = (percentile(&heard.took, 0.5), percentile(&heard.took, 0.99));
            report.add(Figure::of(
                format!("{}: post to last of {members} at {load} messages a second, p50", target.name()),
                "ms",
                &[p50],
            ));
            report.add(Figure::of(
                format!("{}: post to last of {members} at {load} messages a second, p99", target.name()),
                "ms",
                &[p99],
            ));
            half.push((load, p50));
            most.push((load, p99));
        }
        lines.push(Line { name: format!("{}, p50", target.name()), points: half, is_dashed: false });
        lines.push(Line { name: format!("{}, p99", target.name()), points: most, is_dashed: true });
    }
    report.plot(Plot {
        file: "latency.svg",
        title: format!("Post to last of {members}: a line ends where it is no longer kept up with"),
        x: "messages a second",
        y: "milliseconds",
        lines,
    });
    Ok(())
}
