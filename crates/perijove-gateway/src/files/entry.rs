//! A file as it is served: itself and its precompressed neighbours, with their fields made up.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    MediaTypes,
    beneath::Folder,
    cache::Cache,
    caching::Caching,
    press::{Awaited, Job, Made, Text},
    validators::Validators,
};
use crate::{
    FieldBlock, FileBody,
    coding::Coding,
    compress::{self, Effort, LARGEST_FILE, SHORTEST, is_compressible},
};

/// Files up to this size are kept in memory.
pub(super) const SMALL: u64 = 128 << 10;
/// Texts up to this size are compressed when they are read; longer ones by another thread.
const AT_ONCE: u64 = 32 << 10;
/// A neighbour may be so many seconds older than the file it was made of: tools that copy or unpack both
/// do not keep their order. Beyond it, it is out of date.
const NEIGHBOUR_LAG: i64 = 60;

/// A file with all that a request for it needs.
#[derive(Debug)]
pub(super) struct Entry {
    /// In the order of [`Coding`]; the file itself is the last.
    pub(super) variants: SmallVec<[Variant; 1]>,
    /// False when it was read so soon after a change that another may have slipped in unseen.
    is_settled: bool,
    /// When it was last compared with the disk, in milliseconds.
    checked: AtomicU64,
    /// Set by every use, cleared by the cache when it looks for room.
    pub(super) is_used: AtomicBool,
}

/// One of the codings in which a file is at hand.
#[derive(Debug)]
pub(super) struct Variant {
    pub(super) coding: Coding,
    pub(super) validators: Validators,
    /// Of an answer with the whole file.
    pub(super) fields: FieldBlock,
    /// Of an answer that the client's copy is still good.
    pub(super) unchanged: FieldBlock,
    pub(super) length: u64,
    /// Of a small file.
    bytes: Option<Bytes>,
    stamp: Stamp,
    /// It was made by us of the file, and is not on the disk.
    is_made: bool,
    /// It is made when somebody wants it; then `length` is that of the file itself.
    later: Option<Arc<Made>>,
}

/// Tells whether a file is the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Where the bytes of a variant are.
pub(super) enum Content {
    Memory(Bytes),
    Disk(FileBody),
    /// Not there yet.
    Coming(Awaited),
}

/// Where an entry is to be looked for, and when.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) folder: &'a Folder,
    pub(super) cache: &'a Cache,
    /// Of a file, decoded and below the folder.
    pub(super) path: &'a [u8],
    /// In milliseconds.
    pub(super) now: u64,
    pub(super) wall_clock: fn() -> SystemTime,
}

impl Place<'_> {
    fn open(&self, coding: Coding) -> io::Result<(File, Metadata)> {
        let names = self.path.strip_prefix(b"/").unwrap_or(self.path);
        let name = [names, coding.suffix().as_bytes()].concat();
        let file = File::from(self.folder.open(&name, self.now)?);
        let metadata = file.metadata()?;
        Ok((file, metadata))
    }
}

/// What a path leads to.
pub(super) enum Found {
    File(Arc<Entry>),
    Folder,
    /// Not told by [`load`], for which this is an error.
    Nothing,
}

/// Opens and reads a file and its neighbours; without any, `compresses` makes some of a small text.
pub(super) fn load(
    place: Place<'_>,
    (caching, types): (&Caching, &MediaTypes),
    compresses: bool,
) -> io::Result<Found> {
    let (file, metadata) = place.open(Coding::Identity)?;
    if metadata.is_dir() {
        return Ok(Found::Folder);
    }
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut found: SmallVec<[(Coding, File, Metadata); 4]> = SmallVec::new();
    for coding in Coding::NEIGHBOURS {
        if let Ok((file, there)) = place.open(coding)
            && there.is_file()
            && !is_outdated(&there, metadata.mtime())
        {
            found.push((coding, file, there));
        }
    }
    let wall = (place.wall_clock)();
    let media_type = types.of(place.path);
    let length = metadata.size();
    let makes_some = compresses
        && found.is_empty()
        && (SHORTEST..=LARGEST_FILE).contains(&length)
        && is_compressible(media_type.as_bytes())
        // What changes now is not worth it.
        && (length <= AT_ONCE || is_settled(&metadata, wall));
    let has_neighbours = makes_some || !found.is_empty();
    found.push((Coding::Identity, file, metadata));
    let is_settled = found.iter().all(|(_, _, there)| is_settled(there, wall));
    let cache_control = caching.of(place.path);
    let cache_control = cache_control.as_deref();
    let variants = found.into_iter().map(|(coding, file, metadata)| {
        let fields = Fields { coding, media_type, cache_control, has_neighbours };
        Variant::read(file, &metadata, &fields, wall)
    });
    let mut variants: SmallVec<[Variant; 1]> = variants.collect::<io::Result<_>>()?;
    if makes_some && let Some(original) = variants.pop() {
        let coded = [Coding::Brotli, Coding::Gzip].into_iter().filter_map(|coding| {
            if length <= AT_ONCE { original.coded(coding) } else { Some(original.later(coding)) }
        });
        variants.extend(coded);
        variants.push(original);
    }
    Ok(Found::File(Arc::new(Entry {
        variants,
        is_settled,
        checked: AtomicU64::new(place.now),
        is_used: AtomicBool::new(true),
    })))
}

/// Whether this neighbour is too old for a file that was changed at that second.
fn is_outdated(neighbour: &Metadata, modified: i64) -> bool {
    modified > neighbour.mtime().saturating_add(NEIGHBOUR_LAG)
}

/// Whether the last change is so long ago that a further one would show in the times: these have
/// steps of some milliseconds, on some file systems of two seconds.
fn is_settled(metadata: &Metadata, now: SystemTime) -> bool {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    metadata.mtime().max(metadata.ctime()) < now - 2
}

impl Entry {
    /// Whether it was compared with the disk less than a second ago. Whoever gets no for an answer
    /// is the one to compare; others go on with what is known.
    pub(super) fn is_checked(&self, now: u64) -> bool {
        let checked = self.checked.load(Ordering::Relaxed);
        if now.saturating_sub(checked) < 1000 {
            return true;
        }
        self.checked.compare_exchange(checked, now, Ordering::Relaxed, Ordering::Relaxed).is_err()
    }

    /// Whether the disk still holds what was read.
    pub(super) fn is_current(&self, place: Place<'_>) -> bool {
        let original = self.variants.last().map_or(0, |file| file.stamp.modified.0);
        let all = Coding::NEIGHBOURS.into_iter().chain([Coding::Identity]);
        self.is_settled
            && all.into_iter().all(|coding| {
                let is_known = |variant: &&Variant| variant.coding == coding && !variant.is_made;
                let known = self.variants.iter().find(is_known);
                match (known, place.open(coding)) {
                    (Some(known), Ok((_, there))) => known.stamp == Stamp::of(&there),
                    (None, Ok((_, there))) => !there.is_file() || is_outdated(&there, original),
                    (None, Err(_)) => true,
                    (Some(_), Err(_)) => false,
                }
            })
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn weight(&self) -> usize {
        self.variants
            .iter()
            .map(|variant| {
                let made = variant.later.as_ref().and_then(|later| later.bytes());
                1024 + made.as_ref().or(variant.bytes.as_ref()).map_or(0, Bytes::len)
            })
            .sum()
    }
}

impl Variant {
    fn read(
        mut file: File,
        metadata: &Metadata,
        fields: &Fields<'_>,
        now: SystemTime,
    ) -> io::Result<Self> {
        let stamp = Stamp::of(metadata);
        let validators =
            Validators::new(metadata.modified()?, metadata.size(), metadata.ino(), now);
        let bytes =
            if stamp.size <= SMALL { Some(read_whole(&mut file, stamp.size)?) } else { None };
        Ok(Self {
            coding: fields.coding,
            fields: fields.whole(&validators).shared(),
            unchanged: fields.unchanged(&validators).shared(),
            validators,
            length: stamp.size,
            bytes,
            stamp,
            is_made: false,
            later: None,
        })
    }

    /// The same file, coded; `None` when it would be no shorter.
    fn coded(&self, coding: Coding) -> Option<Self> {
        let bytes = compress::whole(self.bytes.as_ref()?, coding, Effort::High)?;
        let length = bytes.len() as u64;
        Some(Self { bytes: Some(bytes), length, ..self.in_coding(coding) })
    }

    /// The same file, to be coded when somebody wants it so.
    fn later(&self, coding: Coding) -> Self {
        let later = Some(Arc::new(Made::new(coding)));
        Self { bytes: None, later, ..self.in_coding(coding) }
    }

    /// What is said of the same file in another coding.
    fn in_coding(&self, coding: Coding) -> Self {
        let validators = self.validators.of_coding(coding.token());
        let retag = |fields: &FieldBlock| {
            let mut fields = fields.clone();
            fields.set("ETag", validators.tag.as_bytes());
            fields
        };
        let mut fields = retag(&self.fields);
        fields.push("Content-Encoding", coding.token());
        Self {
            coding,
            fields: fields.shared(),
            unchanged: retag(&self.unchanged).shared(),
            validators,
            length: self.length,
            bytes: None,
            stamp: self.stamp,
            is_made: true,
            later: None,
        }
    }

    /// How many bytes it has; `None` as long as it is not made.
    pub(super) fn known_length(&self) -> Option<u64> {
        match &self.later {
            None => Some(self.length),
            Some(later) => later.bytes().map(|bytes| bytes.len() as u64),
        }
    }

    /// Whether it is there, or comes from now on. `original` is the file itself.
    pub(super) fn is_coming(&self, original: &Self, place: Place<'_>) -> bool {
        let Some(later) = &self.later else { return true };
        later.is_coming(place.cache.press(), || {
            let (cache, path) = (place.cache.clone(), place.path.to_vec());
            Some(Job {
                made: later.clone(),
                text: original.text(place)?,
                then: Box::new(move || cache.weigh(&path)),
            })
        })
    }

    /// Where the bytes can be read by another thread.
    fn text(&self, place: Place<'_>) -> Option<Text> {
        Some(match self.content(place).ok()? {
            Content::Memory(bytes) => Text::Memory(bytes),
            Content::Disk(FileBody { file, length, .. }) => Text::Disk { file, length },
            Content::Coming(_) => return None,
        })
    }

    /// The bytes, from memory or from the disk; an error when the file is another one by now.
    pub(super) fn content(&self, place: Place<'_>) -> io::Result<Content> {
        if let Some(bytes) = &self.bytes {
            return Ok(Content::Memory(bytes.clone()));
        }
        if let Some(later) = &self.later {
            return Ok(match later.bytes() {
                Some(bytes) => Content::Memory(bytes),
                None => Content::Coming(Awaited(Some(later.clone()))),
            });
        }
        let (file, there) = place.open(self.coding)?;
        if Stamp::of(&there) != self.stamp {
            return Err(io::ErrorKind::StaleNetworkFileHandle.into());
        }
        let length = self.length;
        Ok(Content::Disk(FileBody { file: Arc::new(file), offset: 0, length }))
    }
}

/// Reads a file that is `size` bytes long; one that grows or shrinks meanwhile is an error.
fn read_whole(file: &mut File, size: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    let stale = || io::Error::from(io::ErrorKind::StaleNetworkFileHandle);
    file.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => stale(),
        _ => error,
    })?;
    if file.read(&mut [0])? > 0 {
        return Err(stale());
    }
    Ok(bytes.into())
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What the fields of an answer are made of.
struct Fields<'a> {
    coding: Coding,
    media_type: &'a str,
    cache_control: Option<&'a str>,
    has_neighbours: bool,
}

impl Fields<'_> {
    fn whole(&self, validators: &Validators) -> FieldBlock {
        let mut fields = FieldBlock::new();
        fields.push("Content-Type", self.media_type);
        fields.push("Accept-Ranges", "bytes");
        if self.coding != Coding::Identity {
            fields.push("Content-Encoding", self.coding.token());
        }
        if let Some(modified) = validators.last_modified() {
            fields.push("Last-Modified", modified);
        }
        fields.extend(&self.unchanged(validators));
        fields
    }

    fn unchanged(&self, validators: &Validators) -> FieldBlock {
        let mut fields = FieldBlock::new();
        fields.push("ETag", validators.tag.as_bytes());
        if self.has_neighbours {
            fields.push("Vary", "Accept-Encoding");
        }
        if let Some(value) = self.cache_control {
            fields.push("Cache-Control", value);
        }
        fields
    }
}
