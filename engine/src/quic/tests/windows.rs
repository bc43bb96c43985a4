//! What a peer can make the endpoint keep, and for how long it is kept.

use std::sync::{Arc, Mutex};

use ring::aead::quic::{AES_128, HeaderProtectionKey};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;

use super::super::config::CONNECTION_WINDOW_LEN_MIN;
use super::super::initial::expand;
use super::*;

/// What quiche hands out of a handshake's secrets.
#[derive(Clone, Default)]
struct KeyLog(Arc<Mutex<Vec<u8>>>);

impl io::Write for KeyLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("one thread").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes packets with a client's keys that no client would write.
struct Forge {
    seal: LessSafeKey,
    iv: [u8; 12],
    header: HeaderProtectionKey,
    id: Vec<u8>,
    number: u32,
}

impl Forge {
    fn new(log: &KeyLog, client: &quiche::Connection) -> Self {
        let log = log.0.lock().expect("one thread");
        let log = String::from_utf8_lossy(&log);
        let line = log.lines().find(|line| line.starts_with("CLIENT_TRAFFIC_SECRET_0")).expect("the secret");
        let secret = line.split(' ').nth(2).expect("three fields");
        let secret: Vec<u8> =
            (0..secret.len()).step_by(2).map(|at| u8::from_str_radix(&secret[at..at + 2], 16).expect("hex")).collect();
        assert_eq!(secret.len(), 32, "TLS_AES_128_GCM_SHA256");
        let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &secret);
        let key: [u8; 16] = expand(&secret, b"quic key").expect("a key");
        let header: [u8; 16] = expand(&secret, b"quic hp").expect("a key");
        Self {
            seal: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).expect("16 bytes")),
            iv: expand(&secret, b"quic iv").expect("an IV"),
            header: HeaderProtectionKey::new(&AES_128, &header).expect("16 bytes"),
            id: client.destination_id().to_vec(),
            // Far beyond what the client itself has used.
            number: 1_000,
        }
    }

    fn packet(&mut self, frames: &[u8]) -> Vec<u8> {
        self.number += 1;
        let number = self.number.to_be_bytes();
        let mut packet = [&[0x43][..], &self.id, &number].concat();
        let mut nonce = self.iv;
        nonce.iter_mut().skip(8).zip(number).for_each(|(byte, number)| *byte ^= number);
        let mut sealed = frames.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.seal.seal_in_place_append_tag(nonce, Aad::from(&packet), &mut sealed).expect("seals");
        packet.extend_from_slice(&sealed);
        let number_at = 1 + self.id.len();
        let mask = self.header.new_mask(&packet[number_at + 4..number_at + 20]).expect("a sample");
        packet[0] ^= mask[0] & 0x1f;
        packet[number_at..number_at + 4].iter_mut().zip(&mask[1..]).for_each(|(byte, mask)| *byte ^= mask);
        packet
    }
}

/// One byte of a stream, at an offset: 9 bytes on the wire.
fn fragment(stream: u64, offset: u32) -> [u8; 9] {
    let offset = (0x8000_0000 | offset).to_be_bytes();
    let stream = (0x4000 | stream as u16).to_be_bytes();
    // STREAM with offset and length.
    [0x0e, stream[0], stream[1], offset[0], offset[1], offset[2], offset[3], 1, b'x']
}

/// A raw session, its keys, and whether it may publish.
fn open(may_publish: bool) -> (World, KeyLog) {
    let mut world = World::before_handshake(ALPN[0], EndpointLimits::default());
    let (log, mut config) = (KeyLog::default(), client_config(ALPN[0]));
    config.log_keys();
    world.client =
        quiche::connect(None, &ConnectionId::from_ref(&[5; 16]), client(), server(), &mut config).expect("a client");
    world.client.set_keylog(Box::new(log.clone()));
    world.record.may_publish = may_publish;
    world.exchange();
    assert!(world.client.is_established());
    (world, log)
}

/// Resident memory of this process, in bytes.
fn resident_len() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("a proc file system");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4096
}

/// Sends fragments with gaps on fresh streams until the endpoint has enough; gives how many it took.
fn fragments_taken(world: &mut World, log: &KeyLog, first_stream: u64) -> usize {
    let mut forge = Forge::new(log, &world.client);
    let before = resident_len();
    let mut taken = 0;
    for stream in (first_stream..).step_by(4).take(100) {
        for offset in (1..60_000).step_by(300) {
            let frames: Vec<u8> = (0..150).flat_map(|piece| fragment(stream, offset + 2 * piece)).collect();
            let mut packet = forge.packet(&frames);
            assert_eq!(world.arrive(&mut packet, client()), None);
            // The client knows nothing of these packets and must not see their acknowledgements.
            world.flush();
            world.wire.packets.clear();
            if let Some(error) = world.endpoint.error_of(world.session()) {
                assert_eq!(error, 0x3, "FLOW_CONTROL_ERROR");
                eprintln!("{taken} fragments, {} bytes more resident", resident_len().saturating_sub(before));
                return taken;
            }
            taken += 150;
        }
    }
    panic!("the endpoint took {taken} fragments and has not enough");
}

/// Sends `len` bytes as fast as the windows allow, in real time, as quiche looks at the machine's clock.
fn send_fast(world: &mut World, len: usize) {
    let (mut left, deadline) = (len, Instant::now() + Duration::from_secs(60));
    while world.record.bytes < len {
        assert!(Instant::now() < deadline, "{} of {len} bytes came", world.record.bytes);
        left -= world.client.stream_send(2, &vec![7; left.min(200_000)], false).unwrap_or_default();
        world.exchange();
        let due = world.endpoint.next_timeout().expect("an open connection");
        std::thread::sleep(due.saturating_duration_since(Instant::now()).min(Duration::from_millis(5)));
        world.now = Instant::now();
        world.endpoint.handle_timeouts(world.now, &mut world.record);
    }
}

#[test]
fn one_byte_fragments_with_gaps_are_bounded_by_the_first_window() {
    let most = CONNECTION_WINDOW_LEN_MIN as usize / 2;
    let (mut world, log) = open(false);
    let taken = fragments_taken(&mut world, &log, 2);
    assert!(taken > most / 2 && taken <= most, "{taken} of at most {most}");
}

#[test]
fn a_session_that_only_reads_keeps_its_first_windows_however_much_it_says() {
    let most = CONNECTION_WINDOW_LEN_MIN as usize / 2;
    let (mut world, log) = open(false);
    send_fast(&mut world, 512 << 10);
    assert!(world.endpoint.stats().paused >= 8, "{}", world.endpoint.stats().paused);
    let taken = fragments_taken(&mut world, &log, 6);
    assert!(taken <= most, "{taken} of at most {most}");
}

#[test]
fn a_publisher_is_read_as_fast_as_it_sends_and_its_place_comes_back() {
    let (mut world, _) = open(true);
    send_fast(&mut world, 4 << 20);
    assert_eq!((world.endpoint.stats().paused, world.endpoint.wide()), (0, 1));
    world.client.close(true, 0, b"").expect("open");
    world.exchange();
    while world.endpoint.connections() > 0 {
        let due = world.endpoint.next_timeout().expect("it drains");
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        world.now = Instant::now();
        world.endpoint.handle_timeouts(world.now, &mut world.record);
        world.flush();
    }
    assert_eq!(world.endpoint.wide(), 0);
}

#[test]
fn a_viewer_is_kept_alive_while_its_publisher_pauses() {
    let mut world = World::new(ALPN[0]);
    for (in_use, packets) in [(true, 1), (false, 0), (true, 1)] {
        world.record.in_use = in_use;
        world.now += Duration::from_millis(9_900);
        world.endpoint.handle_timeouts(world.now, &mut world.record);
        world.flush();
        assert_eq!(world.wire.packets.len(), 0, "a third of the idle timeout is not over");
        world.now += Duration::from_millis(101);
        world.endpoint.handle_timeouts(world.now, &mut world.record);
        world.flush();
        assert_eq!(world.wire.packets.len(), packets, "in use: {in_use}");
        world.exchange();
    }
}
