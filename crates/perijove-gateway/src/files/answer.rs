//! The answer to a request for a file that is there.

use std::{io, time::SystemTime};

use super::{
    entry::{Content, Entry, Place, Variant},
    multipart,
    range::{self, Ranges},
    validators::Outcome,
};
use crate::{Body, FieldBlock, Head, Response, coding};

/// The answer to a GET or HEAD. An answer to HEAD has the body of the one to GET, of which the
/// connection sends the length only.
///
/// # Errors
/// When the file is another one by now.
pub(super) fn answer(entry: &Entry, place: Place<'_>, head: &Head) -> io::Result<Response> {
    let Some(variant) = choose(entry, head, place) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    if !head.is_conditional() {
        return Ok(whole(variant, variant.content(place)?));
    }
    // Of what is not made yet no parts can be named.
    let variant = match (variant.known_length(), entry.variants.last()) {
        (None, Some(original)) if head.get("range").is_some() => original,
        _ => variant,
    };
    match variant.validators.judge(head) {
        Outcome::Failed => return Ok(empty(412, FieldBlock::new())),
        Outcome::NotModified => return Ok(empty(304, variant.unchanged.clone())),
        Outcome::Proceed => {}
    }
    let ranges = ranges(variant, head, (place.wall_clock)());
    if ranges == Ranges::Outside {
        let mut fields = FieldBlock::new();
        let length = variant.known_length().unwrap_or_default();
        fields.push("Content-Range", format!("bytes */{length}"));
        return Ok(empty(416, fields));
    }
    let content = variant.content(place)?;
    Ok(match ranges {
        Ranges::Pieces(pieces) => partial(variant, content, &pieces),
        Ranges::Whole | Ranges::Outside => whole(variant, content),
    })
}

fn choose<'a>(entry: &'a Entry, head: &Head, place: Place<'_>) -> Option<&'a Variant> {
    if entry.variants.len() == 1 {
        return entry.variants.first();
    }
    let at_hand = entry.variants.iter().map(|variant| variant.coding);
    let coding = coding::choose(head.get_all("accept-encoding"), at_hand);
    let original = entry.variants.last()?;
    let chosen = entry.variants.iter().find(|variant| variant.coding == coding);
    let chosen = chosen.filter(|variant| variant.is_coming(original, place));
    Some(chosen.unwrap_or(original))
}

/// Ranges have a meaning for GET only.
fn ranges(variant: &Variant, head: &Head, now: SystemTime) -> Ranges {
    let mut values = head.get_all("range");
    match (values.next(), values.next()) {
        (Some(value), None)
            if head.method() == "GET" && variant.validators.allows_range(head, now) =>
        {
            range::parse(value, variant.known_length().unwrap_or_default())
        }
        _ => Ranges::Whole,
    }
}

fn whole(variant: &Variant, content: Content) -> Response {
    let body = match content {
        Content::Memory(bytes) => Body::Full(bytes),
        Content::Disk(body) => Body::File(body),
        Content::Coming(body) => Body::Stream(Box::new(body)),
    };
    Response { status: 200, fields: variant.fields.clone(), body }
}

fn partial(variant: &Variant, content: Content, pieces: &[range::Piece]) -> Response {
    let mut fields = variant.fields.clone();
    let length = variant.known_length().unwrap_or_default();
    let body = if let [piece] = pieces {
        fields.push("Content-Range", multipart::content_range(*piece, length));
        multipart::single(content, *piece)
    } else {
        let media_type = fields.get("content-type").unwrap_or_default();
        let media_type = String::from_utf8_lossy(media_type).into_owned();
        let (content_type, body) = multipart::answer(content, pieces, &media_type, length);
        fields.set("Content-Type", content_type);
        body
    };
    Response { status: 206, fields, body }
}

fn empty(status: u16, fields: FieldBlock) -> Response {
    Response { status, fields, body: Body::Empty }
}
