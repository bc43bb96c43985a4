//! The machines that read what a WebTransport client writes, for any bytes. Each function panics when a promise is broken.

use std::collections::HashSet;

use streams_relay_core::relay::{Dir, Pumped, SessionConfig, SessionId, StreamId, Transmit};

use super::SessionSink;
use super::webtransport::{CapsuleReader, Http3Io, WebTransport};

/// HTTP/3 and WebTransport of one connection. `data` is a list of chunks: stream (its number in the upper seven bits, the lowest one tells
/// bidirectional, 0, from unidirectional, 1), flags (1: FIN behind it, 2: reset instead), length, and that many bytes.
///
/// Promises: nothing panics; nobody is asked to do anything on a stream that the client did not open; at most one session is
/// accepted; what is kept is bounded by what came and by the limits.
pub fn webtransport(mut data: &[u8]) {
    let mut io = Asked::default();
    let mut sink = Taken::default();
    let session = SessionId(1);
    let mut state = WebTransport::start(&mut io, 3);
    io.opened.insert(3);
    let (mut over, mut opened, mut sent) = (HashSet::new(), 0, 0);
    while let Some(([stream, flags, len], rest)) = data.split_first_chunk::<3>() {
        let (chunk, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        data = rest;
        let id = u64::from(stream >> 1) * 4 + u64::from(stream & 1) * 2;
        if over.contains(&id) || io.closed || !state.wants(id) {
            continue;
        }
        io.opened.insert(id);
        sent += chunk.len();
        if flags & 2 != 0 {
            over.insert(id);
            state.stream_reset(&mut io, id);
            continue;
        }
        let fin = flags & 1 != 0;
        if fin {
            over.insert(id);
        }
        opened += usize::from(state.receive(&mut io, id, chunk, fin, session, &mut sink).is_some());
        over.extend(io.stopped.drain());
        state.release(&mut io, session, &mut sink);
    }
    assert!(opened <= 1, "{opened} sessions on one connection");
    assert!(sink.len <= sent, "{} bytes were handed on of {sent}", sink.len);
    assert!(state.kept_len() <= sent, "{} bytes are kept of {sent}", state.kept_len());
}

/// Capsules. The first byte says how the rest is cut; the answer must be the same as for all of it at once.
pub fn capsules(data: &[u8]) {
    let Some((cut, wire)) = data.split_first() else { return };
    let whole = CapsuleReader::default().feed(wire);
    let mut reader = CapsuleReader::default();
    let cut = wire.chunks(usize::from(*cut).max(1)).any(|chunk| reader.feed(chunk));
    assert_eq!(whole, cut, "the cut makes a difference");
}

/// What the machine asked for.
#[derive(Default)]
struct Asked {
    opened: HashSet<u64>,
    stopped: HashSet<u64>,
    closed: bool,
}

impl Http3Io for Asked {
    fn send(&mut self, id: u64, _data: &[u8], _fin: bool) -> bool {
        assert!(id == 3 || self.opened.contains(&id), "stream {id} is not open");
        true
    }

    fn reset(&mut self, id: u64, _code: u64) {
        assert!(id & 2 == 0 && self.opened.contains(&id), "stream {id} has no half of ours");
    }

    fn stop(&mut self, id: u64, _code: u64) {
        assert!(id & 2 == 0 && self.opened.contains(&id), "stream {id} would never come back");
        self.stopped.insert(id);
    }

    fn close(&mut self, _code: u64, _reason: &str) {
        self.closed = true;
    }
}

/// Payload that was handed on.
#[derive(Default)]
struct Taken {
    len: usize,
}

impl SessionSink for Taken {
    fn session_open(&mut self, _session: SessionId, _config: SessionConfig) {}

    fn stream_data(&mut self, _session: SessionId, _stream: StreamId, _dir: Dir, data: &[u8], _fin: bool) {
        self.len += data.len();
    }

    fn stream_reset(&mut self, _session: SessionId, _stream: StreamId, _code: u64) {}

    fn stream_stopped(&mut self, _session: SessionId, _stream: StreamId, _code: u64) {}

    fn datagram(&mut self, _session: SessionId, _data: &[u8]) {}

    fn session_closed(&mut self, _session: SessionId) {}

    fn may_publish(&mut self, _session: SessionId) -> bool {
        false
    }

    fn in_use(&mut self, _session: SessionId) -> bool {
        false
    }

    fn pump(&mut self, _session: SessionId, _io: &mut dyn Transmit) -> Pumped {
        Pumped { more: false }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Every seed, whole and with each of its bytes changed, cut off or doubled.
    fn around_the_seeds(target: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        let seeds =
            std::fs::read_dir(&folder).expect("the seeds are in the tree").map(|seed| seed.expect("a seed").path());
        let mut tried = 0;
        for seed in seeds {
            let seed = std::fs::read(seed).expect("readable");
            run(&seed);
            for at in 0..seed.len().min(600) {
                run(&seed[..at]);
                for change in [0x01, 0x40, 0x80, 0xff] {
                    let mut changed = seed.clone();
                    changed[at] ^= change;
                    run(&changed);
                }
                let mut doubled = seed.clone();
                doubled.insert(at, seed[at]);
                run(&doubled);
            }
            tried += 1;
        }
        assert!(tried > 0, "no seed of {target}");
    }

    #[test]
    fn no_bytes_of_a_webtransport_client_break_a_promise() {
        around_the_seeds("webtransport", super::webtransport);
        around_the_seeds("capsules", super::capsules);
    }
}
