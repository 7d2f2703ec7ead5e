//! Outgoing frames: what a client is sent on a connection.

use std::io;

use domain::{
    Problem,
    frame::{BEAT_SECONDS, ServerFrame, VERSION},
};
use engine::websocket_frame::{self, encode};
use futures_util::{FutureExt, StreamExt};

use super::{
    super::{
        close::End,
        subscription::{ChatSubscription, Sent},
    },
    Connection,
};

/// Frames that are sent with one write.
#[derive(Default)]
pub(super) struct OutgoingFrames {
    pub(super) bytes: Vec<u8>,
    /// The problems that they tell.
    refused: Vec<Problem>,
}

impl OutgoingFrames {
    pub(super) fn push(&mut self, frame: &ServerFrame) -> Result<(), Problem> {
        if let ServerFrame::Refused { problem, .. } = frame {
            self.refused.push(*problem);
        }
        let frame = encode(frame).ok_or(Problem::NotReadable)?;
        if self.bytes.is_empty() {
            // a single frame is not copied
            self.bytes = frame.into();
        } else {
            self.bytes.extend_from_slice(&frame);
        }
        Ok(())
    }
}

/// Maps an I/O error to the end of the connection. It is not logged: the client knows best why the connection ended.
fn gone(_: io::Error) -> End {
    End::Gone
}

impl Connection {
    /// Sends the answer of a command, and all others that are ready.
    pub(super) async fn answer(&mut self, first: ServerFrame) -> Result<(), End> {
        let mut answers = OutgoingFrames::default();
        let mut next = Some(first);
        while let Some(answer) = next {
            answers.push(&answer).map_err(End::Problem)?;
            next = self.answers.next().now_or_never().flatten();
        }
        self.write(answers).await
    }

    /// Tells the client its user and the time.
    pub(super) fn welcome(&mut self, answers: &mut OutgoingFrames) -> Result<(), Problem> {
        let engine = &self.state.engine;
        self.clock_sets = engine.clock_sets();
        answers.push(&ServerFrame::Welcome {
            version: VERSION,
            me: engine.user(self.caller.user)?,
            beat_seconds: BEAT_SECONDS,
            now: engine.now(),
            lifetimes: engine.lifetimes(),
        })
    }

    /// Sends what concerns the user alone, and the time after the clock was set.
    pub(super) async fn tell_theirs(&mut self) -> Result<(), End> {
        let mut news = OutgoingFrames::default();
        self.theirs(&mut news).map_err(End::Problem)?;
        self.write(news).await
    }

    /// Adds the hidden users and the invites, each if it changed since it was sent.
    pub(super) fn theirs(&mut self, news: &mut OutgoingFrames) -> Result<(), Problem> {
        if self.clock_sets != self.state.engine.clock_sets() {
            self.welcome(news)?;
        }
        let hidden = self.state.engine.hidden(self.caller.user)?;
        if self.hidden.as_ref() != Some(&hidden) {
            news.push(&ServerFrame::Hidden(hidden.clone()))?;
            self.hidden = Some(hidden);
        }
        self.invites(news)
    }

    /// Adds the invites, if they changed since they were sent.
    pub(super) fn invites(&mut self, news: &mut OutgoingFrames) -> Result<(), Problem> {
        let invites = self.state.engine.invites_of(self.caller.user)?;
        if self.invites.as_ref() != Some(&invites) {
            news.push(&ServerFrame::Invites(invites.clone()))?;
            self.invites = Some(invites);
        }
        Ok(())
    }

    /// Sends what is new in every watched chat, one batch each, and wakes again where there may be more.
    pub(super) async fn deliver(&mut self) -> Result<(), End> {
        let mut more = false;
        let mut removed = Vec::new();
        for watch in &mut self.watches {
            // each batch is written before the next is read, so that the connection buffers one at most
            self.write_half.flush().await.map_err(gone)?;
            // before the events are looked at: those that come meanwhile are not waited for
            let reacted = watch.notified_of_reactions();
            let mut reactions = None;
            match watch.send_news(&self.state.engine, &self.write_half).map_err(End::Problem)? {
                Sent::Nothing => {
                    reactions = watch.reactions(&self.state.engine, reacted).map_err(End::Problem)?;
                }
                Sent::Batch | Sent::Stuck => more = true,
                Sent::Removed => {
                    removed.push(watch.chat());
                    continue;
                }
            }
            if let Some((reactions, has_more)) = reactions {
                more |= has_more;
                self.write_half.send(&reactions).await.map_err(gone)?;
            }
            if let Some(roster) = watch.roster() {
                self.write_half.send(&roster).await.map_err(gone)?;
            }
        }
        for chat in removed {
            self.unwatch(chat);
            let problem = self.state.engine.why_not(chat, self.caller.user);
            self.send(&ServerFrame::refused_chat(chat, problem)).await?;
        }
        if more {
            self.wake.notify_one();
        }
        self.flush().await
    }

    pub(super) async fn beat(&mut self) -> Result<(), End> {
        // A missed wake-up would be noticed here. What cannot be sent at once follows after a wake-up, and the
        // heartbeat only reports what was sent.
        self.deliver().await?;
        // browsers answer the ping, and their pages see the heartbeat
        let mut beat = OutgoingFrames { bytes: websocket_frame::ping().into(), ..OutgoingFrames::default() };
        beat.push(&self.reached()).map_err(End::Problem)?;
        // an invite that expires does not wake the connection before it is swept
        if self.invites.as_ref().is_some_and(|invites| !invites.is_empty()) {
            self.invites(&mut beat).map_err(End::Problem)?;
        }
        self.write(beat).await
    }

    /// Returns a heartbeat frame.
    pub(super) fn reached(&self) -> ServerFrame {
        ServerFrame::Beat(self.watches.iter().map(ChatSubscription::reached).collect())
    }

    pub(super) async fn send(&mut self, frame: &ServerFrame) -> Result<(), End> {
        let mut frames = OutgoingFrames::default();
        frames.push(frame).map_err(End::Problem)?;
        self.write(frames).await
    }

    pub(super) async fn write(
        &mut self,
        OutgoingFrames { bytes, refused }: OutgoingFrames,
    ) -> Result<(), End> {
        if bytes.is_empty() {
            return Ok(());
        }
        refused.into_iter().for_each(|problem| self.state.metrics.refused(problem));
        self.write_half.send(&bytes.into()).await.map_err(gone)
    }

    pub(super) async fn flush(&mut self) -> Result<(), End> {
        self.write_half.flush().await.map_err(gone)
    }
}
