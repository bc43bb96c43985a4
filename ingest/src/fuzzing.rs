//! Entry points for fuzzing. Whatever the bytes are, none of these panics, and none holds more than the bounds of what it drives.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use crate::rtmp::flv::{Demuxed, FlvDemuxer};
use crate::srt::{Opened, SocketId};
use crate::{
    Answer, Normaliser, NormaliserConfig, Packager, PackagerConfig, RtmpLimits, RtmpSession, Session, SessionEvent,
    SrtFront, SrtLimits, SrtRoute, SrtSession, TsDemuxer, TsEvent,
};

/// When the broadcast of every run begins.
const START_UNIX_MS: u64 = 1_800_000_000_000;
/// Lengths of the pieces that an input comes in.
const PIECE_LENS: [usize; 4] = [usize::MAX, 1500, 97, 1];
/// Type, size, time and stream id of an FLV tag, and what stands behind it.
const TAG_HEADER_LEN: usize = 11;
const TAG_TRAILER_LEN: usize = 4;

/// Everything that an encoder sends, handshake included, by the whole way to chunks. Every key is good.
pub fn rtmp_session(bytes: &[u8]) {
    for piece_len in PIECE_LENS {
        let mut run = Run::default();
        let mut session = RtmpSession::new(RtmpLimits::default());
        if !bytes.chunks(piece_len).all(|piece| run.feed(&mut session, piece)) {
            continue;
        }
        run.packager.finish();
        run.drain();
    }
}

/// FLV tags as they stand in a file behind its header.
pub fn flv_tags(bytes: &[u8]) {
    let (mut run, mut demuxer) = (Run::default(), FlvDemuxer::default());
    let mut rest = Bytes::copy_from_slice(bytes);
    while let Some([kind, s2, s1, s0, t2, t1, t0, t3, ..]) = rest.first_chunk::<TAG_HEADER_LEN>().copied() {
        rest.advance(TAG_HEADER_LEN);
        let size = usize::try_from(u32::from_be_bytes([0, s2, s1, s0])).unwrap_or(usize::MAX);
        let body = rest.split_to(size.min(rest.len()));
        rest.advance(TAG_TRAILER_LEN.min(rest.len()));
        match demuxer.message(kind, u32::from_be_bytes([t3, t2, t1, t0]), body) {
            Ok(Demuxed::Unit(unit)) => run.event(SessionEvent::Unit(unit)),
            Ok(Demuxed::Metadata(metadata)) => run.event(SessionEvent::Metadata(metadata)),
            Ok(Demuxed::Notice(_) | Demuxed::Nothing) => {}
            Err(_) => return,
        }
    }
}

/// An MPEG transport stream, cut in several ways.
pub fn ts(bytes: &[u8]) {
    for piece_len in PIECE_LENS {
        let (mut run, mut demuxer) = (Run::default(), TsDemuxer::default());
        for piece in bytes.chunks(piece_len) {
            let pushed = demuxer.push(piece);
            run.media(&mut demuxer);
            if pushed.is_err() {
                return;
            }
        }
        // What it makes of the rest is judged like everything before.
        let _ = demuxer.finish();
        run.media(&mut demuxer);
    }
}

/// Datagrams of SRT callers, each behind its length of two bytes. Every key is good, and so is the passphrase "passphrase".
pub fn srt(bytes: &[u8]) {
    let now = Instant::now();
    let peer = SocketAddr::from(([192, 0, 2, 7], 7));
    let mut front = SrtFront::new(SrtLimits::default(), now);
    let (mut run, mut session, mut rest) = (Run::default(), None, bytes);
    for step in 0u32.. {
        let Some((len, tail)) = rest.split_first_chunk::<2>() else { return };
        let (datagram, tail) = tail.split_at(usize::from(u16::from_be_bytes(*len)).min(tail.len()));
        rest = tail;
        let now = now + Duration::from_millis(10) * step;
        match (front.route(now, datagram), session.as_mut()) {
            (SrtRoute::Induction, _) => drop(front.induction(now, peer, datagram)),
            (SrtRoute::Conclusion { .. }, None) => {
                // No seed knows the cookie of this run.
                let cookie = front.cookie_of(now, peer);
                if let Opened::Session(opened) =
                    SrtSession::open(&front, now, peer, SocketId(1), &with_cookie(datagram, cookie))
                {
                    session = Some(opened);
                }
            }
            (SrtRoute::Conclusion { .. } | SrtRoute::Connection(_), Some(session)) => {
                run.srt(session, now, &to(datagram, SocketId(1)));
            }
            (SrtRoute::Connection(_) | SrtRoute::Junk, _) => {}
        }
    }
}

/// A conclusion that brings another cookie.
fn with_cookie(datagram: &[u8], cookie: u32) -> Vec<u8> {
    overwritten(datagram, 44, cookie)
}

/// A datagram for another socket.
fn to(datagram: &[u8], socket: SocketId) -> Vec<u8> {
    overwritten(datagram, 12, socket.0)
}

fn overwritten(datagram: &[u8], at: usize, word: u32) -> Vec<u8> {
    let mut changed = datagram.to_vec();
    changed.iter_mut().skip(at).zip(word.to_be_bytes()).for_each(|(slot, byte)| *slot = byte);
    changed
}

/// One broadcast behind a reader.
struct Run {
    normaliser: Normaliser,
    packager: Packager,
    unix_ms: u64,
    out: Vec<u8>,
    began: Instant,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            normaliser: Normaliser::new(NormaliserConfig::default()),
            packager: Packager::new(PackagerConfig::default()),
            unix_ms: START_UNIX_MS,
            out: Vec::new(),
            began: Instant::now(),
        }
    }
}

impl Run {
    /// False once the session is over.
    fn feed(&mut self, session: &mut RtmpSession, mut piece: &[u8]) -> bool {
        while !piece.is_empty() || session.is_behind() {
            let handled = session.handle_input(self.began, piece);
            while let Some(event) = session.poll_event() {
                if matches!(event, SessionEvent::Publish(_)) && session.answer(Answer::Accept).is_err() {
                    return false;
                }
                self.event(event);
            }
            session.poll_transmit(&mut self.out);
            self.out.clear();
            let Some(rest) = handled.ok().and_then(|used| piece.get(used..)) else { return false };
            piece = rest;
        }
        true
    }

    fn media(&mut self, demuxer: &mut TsDemuxer) {
        while let Some(event) = demuxer.poll_event() {
            match event {
                TsEvent::Metadata(metadata) => self.event(SessionEvent::Metadata(metadata)),
                TsEvent::Unit(unit) => self.event(SessionEvent::Unit(unit)),
                TsEvent::Notice(_) => {}
            }
        }
    }

    fn srt(&mut self, session: &mut SrtSession, now: Instant, datagram: &[u8]) {
        let mut handled = session.handle_timeout(now).and_then(|()| session.handle_input(now, datagram));
        loop {
            while let Some(event) = session.poll_event() {
                if matches!(event, SessionEvent::Publish(_)) && session.unlock(Some("passphrase")).is_err() {
                    return;
                }
                self.event(event);
            }
            while session.poll_transmit(&mut self.out) {
                self.out.clear();
            }
            if handled.is_err() || !session.is_behind() {
                return;
            }
            handled = session.handle_input(now, &[]);
        }
    }

    fn event(&mut self, event: SessionEvent) {
        self.unix_ms = self.unix_ms.saturating_add(1);
        match event {
            SessionEvent::Metadata(metadata) => self.packager.metadata(&metadata),
            SessionEvent::Unit(unit) => {
                if let Ok(unit) = self.normaliser.push(self.unix_ms, unit) {
                    self.packager.push(self.unix_ms, unit);
                }
            }
            SessionEvent::Publish(_) | SessionEvent::Notice(_) | SessionEvent::Closed => {}
        }
        self.drain();
    }

    fn drain(&mut self) {
        while self.packager.poll_output().is_some() {}
    }
}
