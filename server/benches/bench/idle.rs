//! The cost of idle connections, and the cost when all of them reconnect.

use std::{
    io,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use tokio::time::sleep;

use crate::{
    Form,
    plot::{Line, Plot},
    report::{Figure, Goal, Report},
    room::settle,
    target::{Member, Target},
};

/// The number of connections that are opened at the same time.
const AT_ONCE: usize = 256;

pub(crate) async fn measure(form: &Form, report: &mut Report) -> io::Result<()> {
    let server = Target::Qchat.start().await?;
    settle(&server).await?;
    let (empty, cpu, began) = (server.watched.resident()?, server.watched.cpu()?, Instant::now());
    sleep(form.flat_out).await;
    let busy = server.watched.cpu()?.saturating_sub(cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    report.add(Figure::of("idle server: RSS", "MB", &[empty as f64 / 1e6]).with_goal(Goal::AtMost(20.0)));
    report.add(Figure::of("idle server: CPU", "%", &[busy * 100.0]).with_goal(Goal::AtMost(0.1)));
    let mut memory = Vec::new();
    for connections in form.connections.iter().copied() {
        let mut members = Vec::new();
        while members.len() < connections {
            let coming = (0..AT_ONCE.min(connections - members.len())).map(|_| Member::arrive(&server));
            members.extend(try_join_all(coming).await?);
        }
        settle(&server).await?;
        memory.push((connections as f64, server.watched.resident()? as f64 / 1e6));
        let each = server.watched.resident()?.saturating_sub(empty) as f64 / connections as f64 / 1e3;
        let figure =
            Figure::of(format!("RSS per connection, {connections} idle joined connections"), "kB", &[each]);
        report.add(if connections >= 10_000 { figure.with_goal(Goal::AtMost(6.0)) } else { figure });
        if let Some(rest) = form.rest.filter(|_| connections >= 10_000) {
            let (cpu, began) = (server.watched.cpu()?, Instant::now());
            sleep(rest).await;
            let busy =
                server.watched.cpu()?.saturating_sub(cpu).as_secs_f64() / began.elapsed().as_secs_f64();
            let label = format!("{connections} idle joined connections with heartbeats: CPU");
            report.add(Figure::of(label, "%", &[busy * 100.0]));
        }
        // All connections are cut at once, and reconnect with their cursors.
        for member in &mut members {
            member.leave();
        }
        settle(&server).await?;
        let (cpu, began) = (server.watched.cpu()?, Instant::now());
        for some in members.chunks_mut(AT_ONCE) {
            try_join_all(some.iter_mut().map(|member| member.come_back(&server))).await?;
        }
        let elapsed = began.elapsed();
        settle(&server).await?;
        let cpu = server.watched.cpu()?.saturating_sub(cpu);
        let figure =
            Figure::of(format!("{connections} reconnects with resume: CPU"), "s", &[cpu.as_secs_f64()]);
        report.add(if connections >= 10_000 { figure.with_goal(Goal::AtMost(2.0)) } else { figure });
        report.add(Figure::of(
            format!("{connections} reconnects with resume: time until all are connected"),
            "s",
            &[elapsed.as_secs_f64()],
        ));
        drop(members);
        sleep(Duration::from_secs(4)).await;
        settle(&server).await?;
    }
    drop(server);
    let mut lines = vec![Line { name: "Qchat".to_owned(), points: memory, is_dashed: false }];
    let peers = if form.peers { &[Target::Ws, Target::SocketIo][..] } else { &[] };
    for peer in peers.iter().copied() {
        lines.push(Line {
            name: peer.name().to_owned(),
            points: held_by(peer, form, report).await?,
            is_dashed: false,
        });
    }
    report.plot(Plot {
        file: "memory.svg",
        title: "RSS of the server by number of idle connections".to_owned(),
        x: "connections",
        y: "RSS in MB",
        lines,
    });
    Ok(())
}

/// Returns the memory of a peer with idle connections, in megabytes.
async fn held_by(peer: Target, form: &Form, report: &mut Report) -> io::Result<Vec<(f64, f64)>> {
    let server = peer.start().await?;
    let empty = server.watched.resident()?;
    let (mut wires, mut points) = (Vec::new(), Vec::new());
    for connections in form.connections.iter().copied() {
        while wires.len() < connections {
            let coming = (0..AT_ONCE.min(connections - wires.len())).map(|_| server.join());
            wires.extend(try_join_all(coming).await?);
        }
        settle(&server).await?;
        let resident = server.watched.resident()?;
        points.push((connections as f64, resident as f64 / 1e6));
        let each = resident.saturating_sub(empty) as f64 / connections as f64 / 1e3;
        let label = format!("{}: RSS per connection, {connections} idle connections", peer.name());
        report.add(Figure::of(label, "kB", &[each]));
    }
    Ok(points)
}
