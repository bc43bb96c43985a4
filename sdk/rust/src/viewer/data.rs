//! Unidirectional streams from the server: its control stream, subgroups and fetches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn::{RecvStream, VarInt};
use streams_relay_core::wire::{
    ControlMessage, ControlReader, FetchItem, FetchReader, Location, ObjectStatus, StreamKind, StreamResetCode,
    SubgroupItem, SubgroupReader,
};
use streams_relay_core::{DecodeError, Malformed};

use super::{Shared, TrackId, ViewerEvent};

/// Largest object that is taken: an intra frame of 100 Mb/s video at one frame a second.
const PAYLOAD_LEN_MAX: usize = 16 * 1024 * 1024;
/// Most bytes taken from QUIC at once.
const READ_LEN_MAX: usize = 256 * 1024;
/// How long a subgroup waits for the SUBSCRIBE_OK that names its alias.
const ALIAS_TIMEOUT: Duration = Duration::from_secs(2);

/// Takes every unidirectional stream of the session.
pub(super) async fn accept(shared: Arc<Shared>) {
    while let Ok(stream) = shared.connection.accept_uni().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            if let Err(malformed) = read(&shared, stream).await {
                shared.violation(malformed);
            }
        });
    }
}

async fn read(shared: &Shared, mut stream: RecvStream) -> Result<(), Malformed> {
    let mut first = BytesMut::new();
    let kind = loop {
        match StreamKind::peek(&first) {
            Ok(kind) => break kind,
            Err(DecodeError::Malformed(malformed)) => return Err(malformed),
            Err(DecodeError::NeedMore) => match next_chunk(&mut stream).await {
                Chunk::Data(data) => first.extend_from_slice(&data),
                Chunk::Fin | Chunk::Cut => return Ok(()),
            },
        }
    };
    match kind {
        StreamKind::Control => read_control(shared, stream, &first).await,
        StreamKind::Subgroup => read_subgroup(shared, stream, &first).await,
        StreamKind::Fetch => read_fetch(shared, stream, &first).await,
        StreamKind::Padding => {
            stop(&mut stream, StreamResetCode::Cancelled);
            Ok(())
        }
    }
}

enum Chunk {
    Data(bytes::Bytes),
    Fin,
    /// Reset by the server, or the session is over.
    Cut,
}

async fn next_chunk(stream: &mut RecvStream) -> Chunk {
    match stream.read_chunk(READ_LEN_MAX, true).await {
        Ok(Some(chunk)) => Chunk::Data(chunk.bytes),
        Ok(None) => Chunk::Fin,
        Err(_) => Chunk::Cut,
    }
}

fn stop(stream: &mut RecvStream, code: StreamResetCode) {
    // An error says that the stream is over already.
    let _ = stream.stop(VarInt::from_u64(code.to_u64()).unwrap_or(VarInt::MAX));
}

async fn read_control(shared: &Shared, mut stream: RecvStream, first: &[u8]) -> Result<(), Malformed> {
    const CLOSED: Malformed = Malformed::violation("control stream", "the server closed it");
    const ONLY: Malformed = Malformed::violation("control stream", "only SETUP, then GOAWAY belong there");
    let mut reader = ControlReader::new(shared.draft);
    reader.push(first);
    let mut set_up = false;
    loop {
        while let Some(message) = reader.next_message()? {
            match message {
                ControlMessage::Setup(_) if !set_up => set_up = true,
                ControlMessage::Goaway(_) if set_up => shared.tell(ViewerEvent::Goaway).await,
                _ => return Err(ONLY),
            }
        }
        match next_chunk(&mut stream).await {
            Chunk::Data(data) => reader.push(&data),
            Chunk::Fin => return Err(CLOSED),
            // The session's end cuts the stream too; a reset alone cannot be told from it and needs no answer of ours.
            Chunk::Cut => return Ok(()),
        }
    }
}

async fn read_subgroup(shared: &Shared, mut stream: RecvStream, first: &[u8]) -> Result<(), Malformed> {
    let mut reader = SubgroupReader::new(shared.draft, PAYLOAD_LEN_MAX);
    reader.push(first);
    let mut track = None;
    let mut end = None;
    loop {
        while let Some(item) = reader.next_item()? {
            match (item, track) {
                (SubgroupItem::Header(header), _) => {
                    track = track_of_alias(shared, header.track_alias).await.map(|track| (track, header.group));
                    if track.is_none() {
                        stop(&mut stream, StreamResetCode::Cancelled);
                        return Ok(());
                    }
                }
                (SubgroupItem::Object(object), Some((track, group))) => {
                    end = Some(object.id.saturating_add(1));
                    let event = match object.status {
                        ObjectStatus::Normal => ViewerEvent::Object {
                            track,
                            location: Location { group, object: object.id },
                            payload: object.payload,
                            arrival: Instant::now(),
                            fetched: false,
                        },
                        ObjectStatus::EndOfGroup => ViewerEvent::GroupEnd { track, group, end: object.id },
                        // PUBLISH_DONE ends the track; this one only says that it may be expected.
                        ObjectStatus::EndOfTrack => continue,
                    };
                    shared.tell(event).await;
                }
                (SubgroupItem::Object(_), None) => return Ok(()),
            }
        }
        match next_chunk(&mut stream).await {
            Chunk::Data(data) => reader.push(&data),
            Chunk::Fin => break,
            Chunk::Cut => return Ok(()),
        }
    }
    reader.finish()?;
    let complete = reader.header().is_some_and(|header| header.end_of_group);
    if let (true, Some((track, group)), Some(end)) = (complete, track, end) {
        shared.tell(ViewerEvent::GroupEnd { track, group, end }).await;
    }
    Ok(())
}

/// Data may overtake the SUBSCRIBE_OK that explains it (draft-18 §11.4.2).
async fn track_of_alias(shared: &Shared, alias: u64) -> Option<TrackId> {
    let mut aliases = shared.aliases.subscribe();
    let known = tokio::time::timeout(ALIAS_TIMEOUT, aliases.wait_for(|aliases| aliases.contains_key(&alias))).await;
    known.ok()?.ok()?.get(&alias).copied()
}

async fn read_fetch(shared: &Shared, mut stream: RecvStream, first: &[u8]) -> Result<(), Malformed> {
    let mut reader = FetchReader::new(shared.draft, PAYLOAD_LEN_MAX);
    reader.push(first);
    let mut track = None;
    loop {
        while let Some(item) = reader.next_item()? {
            match (item, track) {
                (FetchItem::Header(header), _) => {
                    let fetches = shared.fetches.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    track = fetches.get(&header.request_id).copied();
                    if track.is_none() {
                        return Err(Malformed::violation("FETCH_HEADER", "it answers no FETCH of ours"));
                    }
                }
                (FetchItem::Object(head, payload), Some(track)) => {
                    let (location, arrival) = (head.location, Instant::now());
                    shared.tell(ViewerEvent::Object { track, location, payload, arrival, fetched: true }).await;
                }
                (FetchItem::EndOfRange(..), _) | (FetchItem::Object(..), None) => {}
            }
        }
        match next_chunk(&mut stream).await {
            Chunk::Data(data) => reader.push(&data),
            Chunk::Fin => return reader.finish(),
            Chunk::Cut => return Ok(()),
        }
    }
}
