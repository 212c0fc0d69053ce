//! Buffers of one I/O thread: taken when there is something to read or to write, given back
//! before a wait, so that idle connections hold none.

use std::{
    cell::RefCell,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::stream::Stream;

/// Room for a request's head and a small body.
const READ: usize = 16 << 10;
/// Of each kind, so many are kept for the next use.
const KEPT: usize = 16;
/// A buffer that grew beyond this is not kept.
const LARGE: usize = 64 << 10;

thread_local! {
    static READERS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    static WRITERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Reads what has come, at least into the room that is left. Gives the room back when nothing has
/// come and `buffer` is empty. 0 at the end of the stream.
pub(crate) fn poll_fill(
    stream: &mut Stream,
    buffer: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if buffer.capacity() == 0 {
        *buffer = READERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    }
    buffer.reserve(if buffer.is_empty() { READ } else { READ / 4 });
    let read = pin!(stream.read_buf(buffer)).poll(context);
    if read.is_pending() && buffer.is_empty() {
        give_back(buffer);
    }
    read
}

/// Gives the room of an empty buffer back.
pub(crate) fn give_back(buffer: &mut BytesMut) {
    if !buffer.is_empty() {
        return;
    }
    let buffer = std::mem::take(buffer);
    READERS.with_borrow_mut(|kept| {
        if kept.len() < KEPT && (1..=LARGE).contains(&buffer.capacity()) {
            kept.push(buffer);
        }
    });
}

/// An empty buffer to write into.
pub(crate) fn writer() -> Vec<u8> {
    WRITERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(4096))
}

/// Gives a buffer back.
pub(crate) fn written(mut buffer: Vec<u8>) {
    if !(1..=LARGE).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    // When the thread ends, the table may be gone before the last connection.
    let _ = WRITERS.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if kept.len() < KEPT {
            kept.push(buffer);
        }
    });
}

/// Flushes what TLS may hold back; nothing to do for a plain socket.
pub(crate) fn poll_flush(stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    Pin::new(stream).poll_flush(context)
}
