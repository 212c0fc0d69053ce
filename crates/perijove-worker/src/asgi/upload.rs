//! The body of a request on its way in: what has come, what may be asked for. Knows no Python.

use std::collections::VecDeque;

use crate::{exchange::Piece, frames::BodyLength};

/// How many bytes are asked for at once.
const WINDOW: u64 = 256 << 10;

/// The body of a request.
#[derive(Debug)]
pub(super) struct Upload {
    arrived: VecDeque<Piece>,
    /// Bytes that have not come; `None` when that is unknown.
    missing: Option<u64>,
    /// Bytes asked for that have not come.
    asked: u64,
    has_ended: bool,
    /// The application has been given the end.
    is_told: bool,
}

/// What an application is given of a body.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) pieces: VecDeque<Piece>,
    pub(super) is_more: bool,
}

impl Upload {
    /// A body of which `first` came with the request.
    pub(super) fn new(body: BodyLength, first: Piece, is_last: bool) -> Self {
        let carried = first.rest().len() as u64;
        let missing = match body {
            BodyLength::None => Some(0),
            BodyLength::Known(length) => Some(length.saturating_sub(carried)),
            BodyLength::Unknown => None,
        };
        let arrived = if carried > 0 { VecDeque::from([first]) } else { VecDeque::new() };
        let has_ended = missing == Some(0) || (is_last && missing.is_none());
        Self { arrived, missing, asked: 0, has_ended, is_told: false }
    }

    /// True when the gateway says that nothing more comes, and something is missing.
    pub(super) fn is_cut_off(&self, is_last: bool) -> bool {
        is_last && !self.has_ended
    }

    /// True when all of it is short enough to be asked for before the application does.
    pub(super) fn is_short(&self) -> bool {
        !self.has_ended && self.missing.is_some_and(|missing| missing <= WINDOW)
    }

    /// Takes bytes that have come.
    pub(super) fn push(&mut self, piece: Piece, is_last: bool) {
        let length = piece.rest().len() as u64;
        self.asked = self.asked.saturating_sub(length);
        if length > 0 {
            self.arrived.push_back(piece);
        }
        match &mut self.missing {
            Some(missing) => {
                *missing = missing.saturating_sub(length);
                self.has_ended = *missing == 0;
            }
            None => self.has_ended |= is_last,
        }
    }

    /// What there is for the application; `None` when it must wait, or was told the end before.
    pub(super) fn take(&mut self) -> Option<Taken> {
        if self.is_told || (self.arrived.is_empty() && !self.has_ended) {
            return None;
        }
        self.is_told = self.has_ended;
        Some(Taken { pieces: std::mem::take(&mut self.arrived), is_more: !self.has_ended })
    }

    /// How many more bytes to ask for, unless enough were asked for.
    pub(super) fn ask(&mut self) -> Option<u32> {
        let wanted = self.missing.map_or(WINDOW, |missing| missing.min(WINDOW));
        if self.has_ended || self.asked > wanted / 2 {
            return None;
        }
        let more = wanted - self.asked;
        self.asked += more;
        u32::try_from(more).ok()
    }

    /// Lets go of what has come and is for nobody.
    pub(super) fn clear(&mut self) {
        self.arrived = VecDeque::new();
        self.is_told = true;
        self.has_ended = true;
    }
}

#[cfg(test)]
mod tests {
    use super::{Piece, Upload, WINDOW};
    use crate::frames::BodyLength;

    fn upload(body: BodyLength, first: &[u8], is_last: bool) -> Upload {
        Upload::new(body, Piece::new(first.to_vec()), is_last)
    }

    /// What the application is given: the bytes, and whether more is to come.
    fn taken(upload: &mut Upload) -> Option<(Vec<u8>, bool)> {
        let taken = upload.take()?;
        let bytes: Vec<&[u8]> = taken.pieces.iter().map(Piece::rest).collect();
        Some((bytes.concat(), taken.is_more))
    }

    #[test]
    fn a_request_without_a_body_has_one_empty_event() {
        let mut upload = upload(BodyLength::None, b"", true);
        assert_eq!(taken(&mut upload), Some((vec![], false)));
        assert_eq!(taken(&mut upload), None);
        assert_eq!(upload.ask(), None);
    }

    #[test]
    fn a_body_comes_in_pieces_against_credit() {
        let mut upload = upload(BodyLength::Known(10), b"abc", false);
        assert!(upload.is_short());
        assert_eq!(upload.ask(), Some(7));
        assert_eq!(upload.ask(), None);
        assert_eq!(taken(&mut upload), Some((b"abc".to_vec(), true)));
        assert_eq!(taken(&mut upload), None);
        upload.push(Piece::new(b"defg".to_vec()), false);
        upload.push(Piece::new(b"hij".to_vec()), true);
        assert!(!upload.is_cut_off(true));
        assert_eq!(taken(&mut upload), Some((b"defghij".to_vec(), false)));
        assert_eq!(taken(&mut upload), None);
    }

    #[test]
    fn a_body_of_unknown_length_ends_with_its_last_frame() {
        let mut upload = upload(BodyLength::Unknown, b"", false);
        assert!(!upload.is_short());
        assert_eq!(upload.ask().map(u64::from), Some(WINDOW));
        upload.push(Piece::new(b"abc".to_vec()), false);
        assert_eq!(taken(&mut upload), Some((b"abc".to_vec(), true)));
        upload.push(Piece::new(vec![]), true);
        assert_eq!(taken(&mut upload), Some((vec![], false)));
    }

    #[test]
    fn a_body_that_ends_early_is_cut_off() {
        let mut upload = upload(BodyLength::Known(10), b"abc", false);
        upload.push(Piece::new(b"d".to_vec()), true);
        assert!(upload.is_cut_off(true));
        assert_eq!(taken(&mut upload), Some((b"abcd".to_vec(), true)));
        assert_eq!(taken(&mut upload), None);
    }
}
