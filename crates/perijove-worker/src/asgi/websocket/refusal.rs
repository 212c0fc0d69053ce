//! A websocket that is refused with an answer of HTTP: gathered, and sent as one frame.

use pyo3::{exceptions::PyRuntimeError, intern, prelude::*};

use super::{Stage, Websocket};
use crate::{
    asgi::event::Event,
    frames,
    head::Head,
    lock,
    respond::{FAILURE, FAILURE_PAGE},
};

/// An answer that is being gathered.
#[derive(Debug)]
pub(super) struct Refusal {
    head: Head,
    body: Vec<u8>,
}

/// Takes `websocket.http.response.start`.
pub(super) fn start(websocket: &Bound<'_, Websocket>, event: &Event<'_, '_>) -> PyResult<()> {
    let py = websocket.py();
    let status = event.status(intern!(py, "status"))?;
    let head = event.head(status, intern!(py, "headers"))?;
    let mut state = lock(&websocket.get().state);
    match &mut state.stage {
        Stage::Handshake { refusal: refusal @ None, .. } => {
            *refusal = Some(Refusal { head, body: Vec::new() });
            Ok(())
        }
        Stage::Handshake { .. } => {
            Err(PyRuntimeError::new_err("'websocket.http.response.start' was sent twice"))
        }
        Stage::Open(_) | Stage::Over => Err(state.late()),
    }
}

/// Takes `websocket.http.response.body`, and sends all after the last one.
pub(super) fn body(websocket: &Bound<'_, Websocket>, event: &Event<'_, '_>) -> PyResult<()> {
    let py = websocket.py();
    let bytes = event.bytes(intern!(py, "body"))?;
    let is_last = !event.flag(intern!(py, "more_body"))?;
    let refusal = {
        let mut state = lock(&websocket.get().state);
        if !matches!(state.stage, Stage::Handshake { .. }) {
            return Err(state.late());
        }
        let Stage::Handshake { refusal, .. } = &mut state.stage else { return Ok(()) };
        let Some(answer) = refusal else {
            let what = "'websocket.http.response.body' without 'websocket.http.response.start'";
            return Err(PyRuntimeError::new_err(what));
        };
        let room = frames::room_beside(&answer.head.fields);
        if answer.body.len() + bytes.len() > room {
            let what = format!("a websocket is refused with at most {room} bytes");
            return Err(PyRuntimeError::new_err(what));
        }
        answer.body.extend_from_slice(&bytes);
        if !is_last {
            return Ok(());
        }
        refusal.take()
    };
    match refusal {
        Some(Refusal { head, body }) => Websocket::refuse(websocket, &head, &body),
        None => Ok(()),
    }
}

/// The answer to a handshake whose application failed.
pub(super) fn failure() -> (Head, &'static [u8]) {
    let fields = format!("Content-Type: text/html; charset=utf-8\r\n{FAILURE}: exception\r\n");
    (Head { status: 500, fields: fields.into_bytes(), length: None }, FAILURE_PAGE.as_bytes())
}
