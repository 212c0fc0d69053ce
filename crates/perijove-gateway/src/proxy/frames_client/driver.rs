//! The task that drives a link: opens the connection, sends what requests put in line, hands out
//! what comes, looks at the clock.

use std::{
    convert::Infallible,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::{
    cmsg_space,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};
use thiserror::Error;
use tokio::{
    io::Interest,
    time::{Instant, Sleep, sleep, timeout},
};

use super::{link::Link, reading::Reading};
use crate::{
    proxy::{
        Protocol,
        dial::dial,
        frames::{self, FrameError, Ready},
        upstreams::Member,
    },
    stream::Socket,
};

/// How often waiting requests are looked after, while there are any.
const TICK: Duration = Duration::from_millis(5);
/// After so long without requests, memory is given back.
const REST: Duration = Duration::from_secs(5);
/// Reads before others have their turn.
const READS: usize = 8;
/// A buffer that grew beyond this is given back when it is empty.
const KEPT: usize = 1 << 20;
/// For a set of upstreams that is gone while one of them is still dialled.
const OPEN_TIME: Duration = Duration::from_secs(5);

/// Why a link ended.
#[derive(Debug, Error)]
enum LinkError {
    #[error("the worker could not be reached")]
    Open(#[source] io::Error),
    #[error("the worker did not answer the greeting in time")]
    Late,
    #[error("the worker closed the connection")]
    Ended,
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("the worker does not keep to the protocol")]
    Protocol(#[from] FrameError),
    #[error("the worker was taken out as dead")]
    Failed,
}

/// Drives a link until it ends.
pub(super) async fn drive(link: Arc<Link>, claims: OwnedFd) {
    // Whatever ends this, even the end of the runtime: nobody waits in vain.
    let closing = Closing(link.clone());
    let ended = run(&link, claims).await;
    let Err(error) = ended else { return drop(closing) };
    let member = link.member();
    member.rest();
    let address = &member.upstream().address;
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    // One that cannot be reached is being started or replaced: whoever does that says so.
    if member.is_leaving() || matches!(error, LinkError::Open(_)) {
        tracing::debug!(%address, %error, cause, "a connection to a worker ended");
    } else {
        tracing::warn!(%address, %error, cause, "a connection to a worker ended");
    }
    drop(closing);
}

struct Closing(Arc<Link>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn run(link: &Link, claims: OwnedFd) -> Result<(), LinkError> {
    let member = link.member();
    let time = member.owner().map_or(OPEN_TIME, |set| set.settings().connect_time);
    let opening = async {
        let socket = open(member, time, claims).await.map_err(LinkError::Open)?;
        let mut reading = Reading::new(link.shelf().clone());
        let ready =
            std::future::poll_fn(|context| poll_ready(link, &socket, &mut reading, context));
        let ready = ready.await?;
        Ok((socket, reading, ready))
    };
    let opened: Result<_, LinkError> = tokio::select! {
        opened = timeout(time, opening) => opened.unwrap_or(Err(LinkError::Late)),
        () = member.failed().cancelled() => Err(LinkError::Failed),
        // A worker that is stuck takes no connection: what waits for it goes elsewhere.
        never = tick(link) => match never {},
    };
    let (socket, reading, ready) = opened?;
    link.state().takes_trays = ready.takes_trays;
    member.set_width(usize::from(ready.threads));
    member.wake();
    let mut driver = Driver {
        link,
        socket,
        reading,
        writing: Vec::new(),
        written: 0,
        timer: Box::pin(sleep(TICK)),
        clock: Clock::Still,
    };
    let mut leaving = std::pin::pin!(member.leaving().cancelled());
    let mut failed = std::pin::pin!(member.failed().cancelled());
    // Polled for their waking only: what they say is read from the member.
    std::future::poll_fn(|context| {
        let _ = leaving.as_mut().poll(context);
        let _ = failed.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
    std::future::poll_fn(|context| driver.poll(context)).await
}

/// Looks after those that wait for a link which is not open yet.
async fn tick(link: &Link) -> Infallible {
    loop {
        sleep(TICK).await;
        link.tick(Instant::now());
    }
}

/// Connects and greets.
async fn open(member: &Member, time: Duration, claims: OwnedFd) -> io::Result<Socket> {
    let Protocol::Frames { secret, .. } = &member.upstream().protocol else {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the upstream speaks no frames"));
    };
    let socket = dial(member.upstream(), time).await?;
    let mut hello = Vec::new();
    frames::write_hello(&mut hello, secret.reveal());
    let sent = std::future::poll_fn(|context| {
        loop {
            ready!(socket.poll_write_ready(context))?;
            match socket.try_io(Interest::WRITABLE, || send_with(&socket, &hello, &claims)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    });
    // A new connection has room for as much.
    if sent.await? == hello.len() { Ok(socket) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn send_with(socket: &Socket, bytes: &[u8], descriptor: &OwnedFd) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
}

/// Waits for `READY`.
fn poll_ready(
    link: &Link,
    socket: &Socket,
    reading: &mut Reading,
    context: &mut Context<'_>,
) -> Poll<Result<Ready, LinkError>> {
    loop {
        if let Some(ready) = reading.ready {
            return Poll::Ready(Ok(ready));
        }
        if ready!(reading.poll_fill(socket, context))? == 0 {
            return Poll::Ready(Err(LinkError::Ended));
        }
        reading.take_frames(&mut link.state())?;
    }
}

struct Driver<'l> {
    link: &'l Link,
    socket: Socket,
    reading: Reading,
    /// Frames that are being sent, and how many bytes of them were.
    writing: Vec<u8>,
    written: usize,
    timer: Pin<Box<Sleep>>,
    clock: Clock,
}

/// What the timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// Nothing is under way.
    Still,
    /// Requests are looked after.
    Ticking,
    /// Nothing is under way, and if that stays so, the shelf's memory is given back.
    Clearing,
}

impl Driver<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        let member = self.link.member();
        if member.is_failed() {
            return Poll::Ready(Err(LinkError::Failed));
        }
        self.poll_read(context)?;
        self.poll_write(context)?;
        let is_idle = self.note_waker(context);
        if is_idle && member.is_leaving() {
            return Poll::Ready(Ok(()));
        }
        self.poll_tick(context, is_idle);
        Poll::Pending
    }

    fn note_waker(&self, context: &Context<'_>) -> bool {
        let mut state = self.link.state();
        match &state.driver {
            Some(waker) if waker.will_wake(context.waker()) => {}
            _ => state.driver = Some(context.waker().clone()),
        }
        state.is_idle()
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Result<(), LinkError> {
        for _ in 0..READS {
            match self.reading.poll_fill(&self.socket, context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(LinkError::Ended),
                Poll::Ready(Ok(_)) => self.reading.take_frames(&mut self.link.state())?,
                Poll::Ready(Err(error)) => return Err(error.into()),
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Result<(), LinkError> {
        loop {
            if self.written == self.writing.len() {
                self.writing.clear();
                self.written = 0;
                if self.writing.capacity() > KEPT {
                    self.writing = Vec::new();
                }
                let mut state = self.link.state();
                if state.out.is_empty() {
                    return Ok(());
                }
                std::mem::swap(&mut state.out, &mut self.writing);
            }
            let rest = self.writing.get(self.written..).unwrap_or_default();
            match self.socket.poll_write_some(context, rest) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// The clock stands still while nothing is under way.
    fn poll_tick(&mut self, context: &mut Context<'_>, is_idle: bool) {
        if self.clock != Clock::Ticking && !is_idle {
            self.set_clock(Clock::Ticking, TICK);
        }
        while self.clock != Clock::Still && self.timer.as_mut().poll(context).is_ready() {
            let shelf = self.link.shelf();
            match self.clock {
                _ if !is_idle => {
                    self.link.tick(Instant::now());
                    self.set_clock(Clock::Ticking, TICK);
                }
                Clock::Ticking if shelf.is_used() => self.set_clock(Clock::Clearing, REST),
                Clock::Clearing => {
                    shelf.clear();
                    self.clock = Clock::Still;
                }
                _ => self.clock = Clock::Still,
            }
        }
    }

    fn set_clock(&mut self, clock: Clock, time: Duration) {
        self.clock = clock;
        self.timer.as_mut().reset(Instant::now() + time);
    }
}
