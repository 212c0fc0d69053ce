//! What comes from a worker: bytes, taken apart into frames.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::fd::OwnedFd,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use rustix::fs::{FileType, fstat};
use tokio::io::Interest;

use super::{
    shelf::Shelf,
    state::{Answer, State},
};
#[cfg(target_os = "linux")]
use crate::linux::receive;
#[cfg(not(target_os = "linux"))]
use crate::portable::receive;
use crate::{
    FileBody,
    proxy::frames::{
        FrameError, HEADER, Header, Kind, RESPONSE_START, Ready, read_credit, read_file,
        read_ready, read_response, read_tray,
    },
    stream::Socket,
};

/// Bytes that are read at once at most.
const BLOCK: usize = 128 << 10;
/// Less room than this is not worth a system call.
const LEAST: usize = 16 << 10;
/// Longer frames with a body are passed on while they come.
const SMALL: usize = 16 << 10;
/// Descriptors that may wait for their frames.
const MOST_FILES: usize = 64;

/// The receiving end of a link.
#[derive(Debug)]
pub(super) struct Reading {
    /// What came and was not taken apart yet. The space behind it is initialised memory.
    buffer: BytesMut,
    /// How many bytes more the frame at the front asks for.
    missing: usize,
    /// The frame whose body is being passed on while it comes.
    partial: Option<Partial>,
    /// Descriptors, in the order of the frames they belong to.
    files: VecDeque<OwnedFd>,
    shelf: Arc<Shelf>,
    /// What the worker told of itself.
    pub(super) ready: Option<Ready>,
}

#[derive(Debug)]
struct Partial {
    id: u16,
    left: usize,
    is_last: bool,
}

impl Reading {
    pub(super) fn new(shelf: Arc<Shelf>) -> Self {
        Self {
            buffer: BytesMut::new(),
            missing: 0,
            partial: None,
            files: VecDeque::new(),
            shelf,
            ready: None,
        }
    }

    /// Reads what is there; 0 at the end of the connection.
    pub(super) fn poll_fill(
        &mut self,
        socket: &Socket,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(socket.poll_read_ready(context))?;
            self.make_room();
            match socket.try_io(Interest::READABLE, || self.receive(socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        let start = self.buffer.len();
        let files = &mut self.files;
        let mut has_files = false;
        let space = self.buffer.spare_capacity_mut();
        let size = space.len();
        #[expect(unsafe_code, reason = "the system call takes initialised memory")]
        // SAFETY: make_room zeroes each block as a whole before its first use, so that all of its
        // bytes are initialised; a pointer to `MaybeUninit<u8>` is one to `u8`.
        let space = unsafe { std::slice::from_raw_parts_mut(space.as_mut_ptr().cast(), size) };
        let count = receive(socket, space, |file| {
            has_files = true;
            files.push_back(file);
        })?;
        #[expect(unsafe_code, reason = "the bytes were written by the system call")]
        // SAFETY: `count` bytes of the space behind `start` were just written.
        unsafe {
            self.buffer.set_len(start + count);
        }
        if self.files.len() > MOST_FILES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "too many descriptors"));
        }
        // A read that stopped for a descriptor may have left bytes behind.
        if count > 0 && count < size && !has_files {
            socket.expect_no_more();
        }
        Ok(count)
    }

    fn make_room(&mut self) {
        let room = self.buffer.capacity() - self.buffer.len();
        let wanted = LEAST.max(self.missing);
        if room >= wanted || self.buffer.try_reclaim(wanted) {
            return;
        }
        let mut block = BytesMut::zeroed(BLOCK.max(self.buffer.len() + wanted));
        block.resize(block.capacity(), 0);
        block.clear();
        block.extend_from_slice(&self.buffer);
        self.buffer = block;
    }

    /// Takes apart what is there.
    pub(super) fn take_frames(&mut self, state: &mut State) -> Result<(), FrameError> {
        loop {
            if let Some(partial) = &mut self.partial {
                let here = partial.left.min(self.buffer.len());
                partial.left -= here;
                let (id, is_last) = (partial.id, partial.is_last && partial.left == 0);
                if partial.left == 0 {
                    self.partial = None;
                }
                state.piece(id, self.buffer.split_to(here).freeze(), is_last)?;
            }
            let Some(header) = Header::read(&self.buffer)? else {
                self.missing = 0;
                return Ok(());
            };
            let whole = HEADER + header.length;
            if whole <= self.buffer.len() {
                let mut frame = self.buffer.split_to(whole);
                frame.advance(HEADER);
                self.take(header, frame.freeze(), state)?;
            } else if let Some(needed) = self.take_beginning(header, state)? {
                self.missing = needed - self.buffer.len();
                return Ok(());
            }
        }
    }

    /// A whole frame.
    fn take(
        &mut self,
        header: Header,
        payload: Bytes,
        state: &mut State,
    ) -> Result<(), FrameError> {
        let Header { id, is_last, .. } = header;
        if self.ready.is_none() && header.kind != Kind::Ready {
            return Err(FrameError::Malformed("something before READY"));
        }
        match header.kind {
            Kind::Ready => self.ready = Some(read_ready(&payload)?),
            Kind::Response => {
                let (status, fields) = read_start(&payload)?;
                let body = payload.slice(RESPONSE_START + fields.len()..);
                let length = is_last.then_some(body.len() as u64);
                let answer = Answer { status, fields, body, length, is_whole: false };
                state.answer(id, answer, is_last)?;
            }
            Kind::Body => state.piece(id, payload, is_last)?,
            Kind::Tray => {
                let (number, length) = read_tray(&payload)?;
                let tray = self.shelf.take_up(number, length);
                let tray = tray.ok_or(FrameError::Malformed("TRAY with nothing on it"))?;
                state.piece(id, Bytes::from_owner(tray), is_last)?;
            }
            Kind::File => self.take_file(header, &payload, state)?,
            Kind::Credit => state.credit(id, read_credit(&payload)?),
            _ => state.fail(id, payload, true),
        }
        Ok(())
    }

    fn take_file(
        &mut self,
        header: Header,
        payload: &[u8],
        state: &mut State,
    ) -> Result<(), FrameError> {
        let (offset, length) = read_file(payload)?;
        let file = self.files.pop_front().ok_or(FrameError::Malformed("FILE without a file"))?;
        let is_file = fstat(&file)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        if !is_file {
            let reason = Bytes::from_static(b"what was to be sent as a file is none");
            state.fail(header.id, reason, header.is_last);
            return Ok(());
        }
        let file = FileBody { file: Arc::new(File::from(file)), offset, length };
        state.file(header.id, file, header.is_last)
    }

    /// A frame that is not there as a whole: what carries a large body is passed on while it
    /// comes. How many bytes are needed before anything can be done.
    fn take_beginning(
        &mut self,
        header: Header,
        state: &mut State,
    ) -> Result<Option<usize>, FrameError> {
        let whole = HEADER + header.length;
        if header.length <= SMALL || self.ready.is_none() {
            return Ok(Some(whole));
        }
        let start = match header.kind {
            Kind::Body => 0,
            Kind::Response => {
                let payload = self.buffer.get(HEADER..).unwrap_or_default();
                match read_response(payload) {
                    Some((_, fields)) => RESPONSE_START + fields,
                    None => return Ok(Some(HEADER + RESPONSE_START)),
                }
            }
            _ => return Ok(Some(whole)),
        };
        if start > header.length {
            return Err(FrameError::Malformed("fields beyond the frame"));
        }
        if self.buffer.len() < HEADER + start {
            return Ok(Some(HEADER + start));
        }
        let mut beginning = self.buffer.split_to(HEADER + start);
        beginning.advance(HEADER);
        let left = header.length - start;
        if header.kind == Kind::Response {
            let (status, fields) = read_start(&beginning.freeze())?;
            let length = header.is_last.then_some(left as u64);
            let body = Bytes::new();
            let answer = Answer { status, fields, body, length, is_whole: false };
            state.answer(header.id, answer, false)?;
        }
        self.partial = Some(Partial { id: header.id, left, is_last: header.is_last });
        Ok(None)
    }
}

/// Status and fields of a `RESPONSE`.
fn read_start(payload: &Bytes) -> Result<(u16, Bytes), FrameError> {
    let (status, size) = read_response(payload).ok_or(FrameError::Malformed("RESPONSE"))?;
    let end = RESPONSE_START + size;
    if payload.len() < end {
        return Err(FrameError::Malformed("fields beyond the frame"));
    }
    Ok((status, payload.slice(RESPONSE_START..end)))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::{Reading, Ready, SMALL, Shelf, State};
    use crate::proxy::frames_client::{shelf::shared_file, state::Piece};

    fn shelf() -> Arc<Shelf> {
        Arc::new(Shelf::map(&shared_file().unwrap()).unwrap())
    }

    /// A frame of a worker: kind, whether it is the last one, id, payload.
    type Sent = (u8, bool, u16, Vec<u8>);

    fn wire(frames: &[Sent]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, is_last, id, payload) in frames {
            bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(&[*kind, u8::from(*is_last), 0, 0]);
            bytes.extend_from_slice(&u32::from(*id).to_le_bytes());
            bytes.extend_from_slice(payload);
        }
        bytes
    }

    fn response(id: u16, is_last: bool, body: Vec<u8>) -> Sent {
        let mut payload = vec![200, 0, 0, 0, 6, 0, 0, 0];
        payload.extend_from_slice(b"A: b\r\n");
        payload.extend(body);
        (17, is_last, id, payload)
    }

    /// What three requests get when the bytes come in such pieces.
    fn heard(bytes: &[u8], cuts: &[usize]) -> Vec<(Option<u16>, Vec<u8>, bool)> {
        let (mut reading, mut state) = (Reading::new(shelf()), State::default());
        reading.ready = Some(Ready { threads: 1, takes_trays: true });
        for _ in 0..3 {
            state.begin(Duration::from_secs(1), true).unwrap();
        }
        let mut rest = bytes;
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            rest = after;
            reading.buffer.extend_from_slice(piece);
            if reading.take_frames(&mut state).is_err() {
                break;
            }
        }
        (0..3).map(|id| outcome(&mut state, id)).collect()
    }

    fn outcome(state: &mut State, id: u16) -> (Option<u16>, Vec<u8>, bool) {
        let answer = state.take_answer(id);
        let mut body = BytesMut::new();
        let status = answer.map(|answer| {
            assert_eq!(answer.fields, "A: b\r\n");
            body.extend_from_slice(&answer.body);
            answer.status
        });
        while let Some(Piece::Bytes(piece)) = state.take_piece(id) {
            body.extend_from_slice(&piece);
        }
        let is_over = state.entry(id).is_some_and(|entry| entry.is_over);
        (status, body.to_vec(), is_over)
    }

    /// Each would be a descriptor of ours.
    #[test]
    fn a_worker_cannot_have_us_hold_files_without_end() {
        let mut state = State::default();
        let id = state.begin(Duration::from_secs(1), true).unwrap();
        let file = || {
            let file = Arc::new(std::fs::File::open("/dev/null").unwrap());
            crate::FileBody { file, offset: 0, length: 1 }
        };
        let taken = (0..1000).take_while(|_| state.file(id, file(), false).is_ok()).count();
        assert!((1..100).contains(&taken), "{taken}");
        // Who takes them may go on.
        let mut state = State::default();
        let id = state.begin(Duration::from_secs(1), true).unwrap();
        for _ in 0..1000 {
            state.file(id, file(), false).unwrap();
            assert!(matches!(state.take_piece(id), Some(Piece::File(_))));
        }
    }

    fn body() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            (any::<u8>(), SMALL..SMALL + 3000).prop_map(|(byte, size)| vec![byte; size]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn frames_are_heard_alike_however_they_are_cut(
            first in body(),
            second in body(),
            third in prop::collection::vec(body(), 0..4),
            cuts in prop::collection::vec(1usize..20_000, 1..20),
        ) {
            let mut frames = vec![response(0, true, first.clone()), response(2, false, vec![])];
            for piece in &third {
                frames.push((18, false, 2, piece.clone()));
            }
            frames.push(response(1, false, second.clone()));
            frames.push((18, true, 2, vec![]));
            let expected = vec![
                (Some(200), first, true),
                (Some(200), second, false),
                (Some(200), third.concat(), true),
            ];
            prop_assert!(heard(&wire(&frames), &cuts) == expected);
            prop_assert!(heard(&wire(&frames), &[usize::MAX]) == expected);
        }

        #[test]
        fn no_bytes_break_it(
            start in prop::collection::vec(any::<u8>(), 0..300),
            kind in 16u8..23,
            length in 0u8..40,
            id in 0u8..5,
            cuts in prop::collection::vec(1usize..50, 1..5),
        ) {
            let mut bytes = vec![length, 0, 0, 0, kind, 1, 0, 0, id, 0, 0, 0];
            bytes.extend_from_slice(&start);
            heard(&start, &cuts);
            heard(&bytes, &cuts);
        }
    }
}
