//! Both directions of an upgraded connection.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep, timeout},
};

use super::{Farewell, flow::Flow};
#[cfg(target_os = "linux")]
use crate::linux::acknowledge;
#[cfg(not(target_os = "linux"))]
use crate::portable::acknowledge;
use crate::{
    clock,
    proxy::wire::with_scratch,
    stream::{Socket, Stream},
};

/// After one side's end, the longest silence of the other.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a client is given to take the last message.
const CLOSE_TIME: Duration = Duration::from_secs(1);
/// When the first question goes to a peer that is silent, and how often it is repeated.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

#[derive(Debug)]
pub(super) struct Relay {
    client: Stream,
    upstream: Stream,
    up: Flow,
    down: Flow,
    /// After one side's end.
    silence: Option<Pin<Box<Sleep>>>,
    /// Bytes carried when the silence began.
    carried: u64,
    tempo: Option<Tempo>,
}

/// Whether an upstream on TCP must hear at once that its bytes have come.
///
/// A peer that sends several small messages in a row may hold back all but the first until that is
/// acknowledged (Nagle), which our side would put off for 40 ms, hoping for something to send
/// along. Where each message is answered by one, again and again, there is something to send, and an
/// acknowledgement by itself costs as much as a message.
#[derive(Clone, Copy, Debug, Default)]
struct Tempo {
    /// Messages from the upstream since the last one to it.
    in_a_row: u8,
    /// How often just one came before the next one to it, without much delay.
    turns: u8,
    /// When the last one to it was sent, by [`clock::now`].
    sent: u64,
}

/// After so many turns in a row, the next message is expected to be answered too.
const TURNS: u8 = 8;
/// Longer turns, in milliseconds, are too rare for their cost to matter.
const LONGEST_TURN: u64 = 100;

impl Tempo {
    /// Bytes went to the upstream.
    fn up(&mut self, now: u64) {
        if now.saturating_sub(self.sent) > LONGEST_TURN {
            self.turns = 0;
        } else if self.in_a_row == 1 {
            self.turns = self.turns.saturating_add(1);
        }
        self.in_a_row = 0;
        self.sent = now;
    }

    /// Bytes came from it; true when that is to be acknowledged now.
    fn down(&mut self) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row > 1 {
            self.turns = 0;
        }
        self.turns < TURNS
    }
}

impl Relay {
    /// `leftover` came from the client, `early` from the upstream.
    pub(super) fn new(client: Stream, upstream: Stream, leftover: Bytes, early: Bytes) -> Self {
        keep_alive(client.socket());
        keep_alive(upstream.socket());
        let tempo = matches!(upstream.socket(), Socket::Tcp(_)).then(Tempo::default);
        Self {
            client,
            upstream,
            up: Flow::new(leftover),
            down: Flow::new(early),
            silence: None,
            carried: 0,
            tempo,
        }
    }

    /// Ready when the connection is over: both sides have ended, one has broken, or one has ended
    /// and the other is silent.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let before = (self.up.carried, self.down.carried);
        let up = self.up.poll(&mut self.client, &mut self.upstream, context);
        let down = self.down.poll(&mut self.upstream, &mut self.client, context);
        if let Some(tempo) = &mut self.tempo {
            if self.up.carried != before.0 {
                tempo.up(clock::now());
            }
            if self.down.carried != before.1 && tempo.down() {
                acknowledge(self.upstream.socket());
            }
        }
        match (up, down) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(())))
            | (Poll::Ready(Err(_)), _)
            | (_, Poll::Ready(Err(_))) => Poll::Ready(()),
            _ if self.up.is_over() || self.down.is_over() => self.poll_silence(context),
            _ => Poll::Pending,
        }
    }

    /// Bytes carried so far, both ways.
    pub(super) fn carried(&self) -> u64 {
        self.up.carried + self.down.carried
    }

    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let carried = self.carried();
        let has_moved = std::mem::replace(&mut self.carried, carried) != carried;
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(SILENCE)));
        if has_moved {
            silence.as_mut().reset(Instant::now() + SILENCE);
        }
        silence.as_mut().poll(context)
    }

    /// Tells the client of a websocket why it ends, if it is not amid a message, and waits a
    /// moment for its end.
    pub(super) async fn close(mut self, farewell: Farewell) {
        // A close frame with a status code (RFC 6455 5.5.1, 7.4.1).
        let frame = match farewell {
            Farewell::Refused => [0x88, 2, 0x03, 0xf0],
            Farewell::Stopping | Farewell::Silent => [0x88, 2, 0x03, 0xe9],
        };
        if !self.down.is_at_rest() || self.down.is_over() {
            return;
        }
        let mut frame = &frame[..];
        let closing = std::future::poll_fn(|context| {
            while !frame.is_empty() {
                match ready!(Pin::new(&mut self.client).poll_write(context, frame)) {
                    Ok(written @ 1..) => frame = frame.get(written..).unwrap_or_default(),
                    _ => return Poll::Ready(()),
                }
            }
            if ready!(Pin::new(&mut self.client).poll_shutdown(context)).is_err() {
                return Poll::Ready(());
            }
            poll_end(&mut self.client, context)
        });
        // Whether or not it has answered: it was told.
        drop(timeout(CLOSE_TIME, closing).await);
    }
}

/// Reads on until the end: a connection that is closed with bytes unread is reset, and the last
/// message may never arrive.
fn poll_end(stream: &mut Stream, context: &mut Context<'_>) -> Poll<()> {
    with_scratch(|scratch| {
        loop {
            let mut buffer = ReadBuf::new(scratch);
            let read = ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    })
}

/// Lets the operating system find out when a peer is gone without a word.
fn keep_alive(socket: &Socket) {
    if let Socket::Tcp(stream) = socket {
        let (time, interval) = KEEP_ALIVE;
        let settings = TcpKeepalive::new().with_time(time).with_interval(interval);
        // Where this fails, a dead peer is found out when something is sent to it.
        drop(SockRef::from(stream).set_tcp_keepalive(&settings));
    }
}

#[cfg(test)]
mod tests {
    use super::Tempo;

    #[test]
    fn what_is_not_answered_in_turn_is_acknowledged() {
        let check = |talk: &str, expected: &str| {
            let mut tempo = Tempo::default();
            let mut now = 10_000;
            let heard: String = talk
                .chars()
                .filter_map(|way| match way {
                    '>' => {
                        tempo.up(now);
                        None
                    }
                    ' ' => {
                        now += 1000;
                        None
                    }
                    _ => Some(if tempo.down() { 'a' } else { '-' }),
                })
                .collect();
            assert_eq!(heard, expected, "{talk}");
        };
        check("<<<<", "aaaa");
        check("><<<><<<", "aaaaaa");
        check("><><><><><><><><><><", "aaaaaaaa--");
        check("><><><><><><><><><<<><", "aaaaaaaa-aaa");
        check("><><><><><><><><>< ><><", "aaaaaaaa-aa");
        check(">< >< >< >< >< >< >< >< >< >< ><", "aaaaaaaaaaa");
    }
}
