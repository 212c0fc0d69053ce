//! What a websocket's client has said and the application has not heard yet.

use std::collections::VecDeque;

use pyo3::{
    intern,
    prelude::*,
    types::{PyBytes, PyDict, PyString},
};

use crate::asgi::codec::Came;

/// So many messages, or bytes, wait for the application; then the client has to.
const MESSAGES: usize = 32;
const BYTES: usize = 1 << 20;

/// Messages in line.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    is_connect_told: bool,
    messages: VecDeque<Came>,
    bytes: usize,
    closed: Option<(u16, String)>,
}

/// What the application hears next.
#[derive(Debug)]
pub(super) enum Said {
    Connect,
    Message(Came),
}

impl Inbox {
    pub(super) fn push(&mut self, came: Came) {
        match came {
            Came::Closed { code, reason } => self.close(code, &reason),
            message => {
                self.bytes += length(&message);
                self.messages.push_back(message);
            }
        }
    }

    /// Nothing more will come; only the first reason counts.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        self.closed.get_or_insert_with(|| (code, reason.to_owned()));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// True when nothing is to be heard.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.closed.is_none()
    }

    pub(super) fn is_full(&self) -> bool {
        self.messages.len() >= MESSAGES || self.bytes >= BYTES
    }

    /// True when it is worth to read on after it was full.
    pub(super) fn has_room(&self) -> bool {
        self.messages.len() < MESSAGES / 2 && self.bytes < BYTES / 2
    }

    /// What the application hears next; the end again and again.
    pub(super) fn take(&mut self) -> Option<Said> {
        if !std::mem::replace(&mut self.is_connect_told, true) {
            return Some(Said::Connect);
        }
        if let Some(message) = self.messages.pop_front() {
            self.bytes -= length(&message);
            return Some(Said::Message(message));
        }
        let (code, reason) = self.closed.clone()?;
        Some(Said::Message(Came::Closed { code, reason }))
    }
}

fn length(message: &Came) -> usize {
    match message {
        Came::Text(text) => text.as_str().len(),
        Came::Binary(bytes) => bytes.len(),
        Came::Closed { .. } => 0,
    }
}

impl Said {
    pub(super) fn event<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let event = PyDict::new(py);
        let kind = intern!(py, "type");
        match self {
            Self::Connect => event.set_item(kind, intern!(py, "websocket.connect"))?,
            Self::Message(Came::Text(text)) => {
                event.set_item(kind, intern!(py, "websocket.receive"))?;
                event.set_item(intern!(py, "text"), PyString::new(py, text.as_str()))?;
            }
            Self::Message(Came::Binary(bytes)) => {
                event.set_item(kind, intern!(py, "websocket.receive"))?;
                event.set_item(intern!(py, "bytes"), PyBytes::new(py, bytes))?;
            }
            Self::Message(Came::Closed { code, reason }) => {
                event.set_item(kind, intern!(py, "websocket.disconnect"))?;
                event.set_item(intern!(py, "code"), *code)?;
                event.set_item(intern!(py, "reason"), reason)?;
            }
        }
        Ok(event)
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES, Came, Inbox, MESSAGES, Said};

    fn heard(inbox: &mut Inbox) -> Option<String> {
        inbox.take().map(|said| match said {
            Said::Connect => "connect".to_owned(),
            Said::Message(Came::Text(text)) => text.as_str().to_owned(),
            Said::Message(Came::Binary(bytes)) => format!("{} bytes", bytes.len()),
            Said::Message(Came::Closed { code, reason }) => format!("closed {code} {reason}"),
        })
    }

    #[test]
    fn what_came_is_heard_in_order_and_the_end_for_ever() {
        let mut inbox = Inbox::default();
        inbox.push(Came::Text("a".into()));
        inbox.push(Came::Closed { code: 1001, reason: "bye".to_owned() });
        inbox.close(1006, "");
        for expected in ["connect", "a", "closed 1001 bye", "closed 1001 bye"] {
            assert_eq!(heard(&mut inbox).as_deref(), Some(expected));
        }
    }

    #[test]
    fn nothing_to_hear_is_nothing() {
        let mut inbox = Inbox::default();
        assert_eq!(heard(&mut inbox).as_deref(), Some("connect"));
        assert_eq!(heard(&mut inbox), None);
    }

    #[test]
    fn it_is_full_by_messages_or_by_bytes_and_reads_on_at_half() {
        let mut inbox = Inbox::default();
        assert!(inbox.take().is_some());
        for _ in 0..MESSAGES {
            assert!(!inbox.is_full());
            inbox.push(Came::Text("a".into()));
        }
        assert!(inbox.is_full());
        for _ in 0..=MESSAGES / 2 {
            assert!(!inbox.has_room());
            assert!(inbox.take().is_some());
        }
        assert!(inbox.has_room());
        inbox.push(Came::Binary(vec![0; BYTES].into()));
        assert!(inbox.is_full());
    }
}
