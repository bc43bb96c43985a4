//! Whatever a peer opens, however it dies, comes back: every way a stream can end in every state, more often than streams may be
//! open, and then a good one.

use super::webtransport::{BIDI, UNI, connect_request, frame};
use super::*;

/// Twice the streams that a peer may have open, and more.
const TIMES: u64 = 300;

/// What becomes of the peer's half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theirs {
    Fin,
    Reset,
    /// It stops our half, and then ends its own.
    StopFin,
    StopReset,
    /// It leaves its half open until it is asked to stop.
    Open,
}

/// What the relay does with a stream that is its own.
#[derive(Clone, Copy, Debug)]
enum Ours {
    /// It is not the relay's.
    Nothing,
    Fin,
    Reset,
    StopThenFin,
    StopThenReset,
    /// Our last word is acknowledged long before the peer is asked to stop.
    FinThenStop,
    ResetThenStop,
}

impl World {
    /// One stream: `bytes` and the ends of both halves.
    fn live_and_die(&mut self, id: u64, bytes: &[u8], theirs: Theirs, ours: Ours) -> quiche::Result<()> {
        self.client.stream_priority(id, 0, false)?;
        if !bytes.is_empty() {
            self.client.stream_send(id, bytes, false)?;
        }
        self.exchange();
        self.end_ours(id, ours);
        if matches!(theirs, Theirs::StopFin | Theirs::StopReset) {
            // It may be gone already.
            let _ = self.client.stream_shutdown(id, Shutdown::Read, 9);
            self.exchange();
        }
        match theirs {
            Theirs::Fin | Theirs::StopFin => drop(self.client.stream_send(id, b"", true)),
            Theirs::Reset | Theirs::StopReset => drop(self.client.stream_shutdown(id, Shutdown::Write, 5)),
            Theirs::Open => {}
        }
        self.exchange();
        self.read_all();
        self.exchange();
        Ok(())
    }

    fn end_ours(&mut self, id: u64, ours: Ours) {
        let stream = StreamId(id);
        let steps: &[u8] = match ours {
            Ours::Nothing => &[],
            Ours::Fin => b"f",
            Ours::Reset => b"r",
            Ours::StopThenFin => b"sf",
            Ours::StopThenReset => b"sr",
            Ours::FinThenStop => b"f.s",
            Ours::ResetThenStop => b"r.s",
        };
        for step in steps {
            if *step == b'.' {
                self.exchange();
                self.read_all();
                continue;
            }
            self.pump(|io| {
                match step {
                    b'f' => drop(io.write(stream, b"no", true)),
                    b'r' => io.reset(stream, 4),
                    _ => io.stop(stream, 3),
                }
                false
            });
        }
        self.exchange();
        self.read_all();
        self.exchange();
    }
}

fn often(mut world: World, first: u64, bytes: &[u8], theirs: Theirs, ours: Ours, good: &[u8]) {
    let what = format!("{bytes:x?} {theirs:?} {ours:?}");
    for number in 0..TIMES {
        let done = world.live_and_die(first + 4 * number, bytes, theirs, ours);
        assert_eq!(done, Ok(()), "{what}: stream {number}");
        assert_eq!(world.client.peer_error(), None, "{what}: stream {number}");
    }
    let before = world.record.bytes;
    let last = first + 4 * TIMES;
    assert!(world.client.stream_send(last, &[good, b"good"].concat(), true).is_ok(), "{what}: the good one");
    world.exchange();
    assert_eq!((world.record.bytes - before, world.record.ended.last()), (4, Some(&last)), "{what}: the good one");
}

#[test]
fn requests_of_raw_quic_come_back() {
    let ends = [Theirs::Fin, Theirs::Reset, Theirs::StopFin, Theirs::StopReset];
    let words =
        [Ours::Fin, Ours::Reset, Ours::StopThenFin, Ours::StopThenReset, Ours::FinThenStop, Ours::ResetThenStop];
    for ours in words {
        for theirs in ends {
            often(World::new(ALPN[0]), 0, b"a request", theirs, ours, b"");
        }
    }
    for ours in [Ours::StopThenFin, Ours::StopThenReset, Ours::FinThenStop, Ours::ResetThenStop] {
        often(World::new(ALPN[0]), 0, b"a request", Theirs::Open, ours, b"");
    }
}

#[test]
fn bidirectional_streams_of_webtransport_come_back() {
    let ends = [Theirs::Fin, Theirs::Reset, Theirs::StopFin, Theirs::StopReset];
    let headers = connect_request("moqt-18");
    let cut = &headers[..headers.len() - 1];
    let states: [&[u8]; 9] =
        [b"", b"\x40", b"\x40\x41", b"\x40\x41\x40", b"\x01", b"\x01\x40", b"\x21", b"\x21\x02x", cut];
    for theirs in ends {
        for bytes in states {
            often(World::webtransport(), BIDI, bytes, theirs, Ours::Nothing, b"\x40\x41\x00");
        }
    }
    // Refused ones, also when the peer waits for the refusal.
    let get = frame(0x01, b"\0\0\xd1\xd7\x50\x09localhost\xc1");
    let malformed = frame(0x01, b"\0\0\xcf\xd7\xc1");
    let refused: [&[u8]; 4] = [b"\x40\x41\x04other session", &headers, &get, &malformed];
    for bytes in refused {
        for theirs in [Theirs::Fin, Theirs::Reset, Theirs::StopFin, Theirs::StopReset, Theirs::Open] {
            often(World::webtransport(), BIDI, bytes, theirs, Ours::Nothing, b"\x40\x41\x00");
        }
    }
    // The relay's own.
    for ours in [Ours::Fin, Ours::StopThenFin, Ours::ResetThenStop] {
        for theirs in ends {
            often(World::webtransport(), BIDI, b"\x40\x41\x00", theirs, ours, b"\x40\x41\x00");
        }
    }
}

#[test]
fn unidirectional_streams_come_back() {
    let states: [&[u8]; 8] = [
        b"",
        b"\x40",
        b"\x40\x54",
        b"\x40\x54\x40",
        b"\x40\x54\x00media",
        b"\x40\x54\x04other session",
        b"\x21",
        b"\x21unknown",
    ];
    for theirs in [Theirs::Fin, Theirs::Reset] {
        for bytes in states {
            often(World::webtransport(), UNI, bytes, theirs, Ours::Nothing, b"\x40\x54\x00");
        }
        often(World::new(ALPN[0]), 2, b"media", theirs, Ours::Nothing, b"");
    }
}
