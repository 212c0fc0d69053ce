//! The end of an exchange: the rest of the request, the end of the connection.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use tokio::io::AsyncWrite;

use crate::{buffers, stream::Stream};

use super::{http1::Connection, upload::Upload};

/// What the log says of a request whose client did not wait for the answer.
pub(super) const CLIENT_LEFT: u16 = 499;
/// How much of a body is read to keep a connection.
const DRAINED: usize = 256 << 10;
/// How long a client is listened to that does not know yet that nobody listens.
const LINGER: Duration = Duration::from_secs(5);
/// And how much of what it sends.
const LINGERED: usize = 4 << 20;

/// Reads the rest of a body nobody wants, if that is quickly done; false when it is not, and the
/// connection cannot be used again.
pub(super) async fn drain(connection: &mut Connection, upload: &mut Upload) -> bool {
    if !upload.is_drainable() {
        return false;
    }
    connection.watch.arm(LINGER);
    let mut left = DRAINED;
    let is_done = poll_fn(|context| {
        loop {
            match upload.poll_drop(&mut connection.stream, &mut connection.buffer, context) {
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                Poll::Ready(Some(Ok(count))) => match left.checked_sub(count) {
                    Some(rest) => left = rest,
                    None => return Poll::Ready(false),
                },
                Poll::Pending => return connection.watch.poll_late(context).map(|()| false),
            }
        }
    });
    let is_done = is_done.await;
    connection.watch.disarm();
    is_done
}

/// Ends our side, and reads on for a moment: a connection that is closed with bytes unread is
/// reset, and the answer may never arrive.
pub(super) async fn linger(connection: &mut Connection) {
    connection.watch.arm(LINGER);
    let mut left = LINGERED;
    let mut is_shut = false;
    poll_fn(|context| {
        let stream = &mut connection.stream;
        if !is_shut {
            is_shut = Pin::new(&mut *stream).poll_shutdown(context).is_ready();
        }
        loop {
            connection.buffer.clear();
            match buffers::poll_fill(stream, &mut connection.buffer, context) {
                Poll::Ready(Ok(count @ 1..)) => match left.checked_sub(count) {
                    Some(rest) => left = rest,
                    None => return Poll::Ready(()),
                },
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return connection.watch.poll_late(context),
            }
        }
    })
    .await;
}

/// Tells a client under TLS that nothing was cut off, without waiting for it.
pub(super) async fn say_goodbye(stream: &mut Stream) {
    if let Stream::Tls(stream) = stream {
        poll_fn(|context| {
            drop(Pin::new(&mut *stream).poll_shutdown(context));
            Poll::Ready(())
        })
        .await;
    }
}
