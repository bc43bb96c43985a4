//! What strangers send in masses: counted, bounded, and no viewer notices.

use super::*;

/// Marsaglia's xorshift with a fixed seed: the same flood in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }

    fn address(&mut self) -> SocketAddr {
        let [a, b, c, d, ..] = self.next().to_le_bytes();
        SocketAddr::from(([198, 18, a, b], u16::from_le_bytes([c, d]).max(1)))
    }
}

const RETRY_MIN: usize = 50;
const INITIALS: usize = 5_000;
const SHORT_HEADERS: usize = 50_000;
/// Ids that the endpoint knows of one connection: the client's own choice, and three of ours.
const IDS_A_CONNECTION: usize = 4;

fn watched_world() -> World {
    let limits = EndpointLimits { retry_half_open_min: RETRY_MIN, half_open_max: 100, ..EndpointLimits::default() };
    let mut world = World::before_handshake(ALPN[0], limits);
    world.exchange();
    assert!(world.client.is_established());
    world
}

#[test]
fn initials_that_are_not_genuine_leave_nothing_behind() {
    let mut world = watched_world();
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    world.media(200_000, |world| {
        for _ in 0..INITIALS {
            let mut junk = [0u8; 1200];
            noise.fill(&mut junk);
            // QUIC version 1, ids of 8 and 0 bytes, no token, a length that fits.
            junk[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
            junk[14..18].copy_from_slice(&[0, 0, 0x44, 0x9e]);
            let from = noise.address();
            assert_eq!(world.arrive(&mut junk, from), None);
        }
    });
    let stats = world.endpoint.stats();
    assert_eq!((world.endpoint.connections(), world.endpoint.half_open()), (1, 0));
    assert_eq!((stats.junk, stats.retries), (RETRY_MIN as u64, (INITIALS - RETRY_MIN) as u64));
    assert_eq!((stats.accepted, world.endpoint.ids_known()), (1, IDS_A_CONNECTION));
}

#[test]
fn clients_that_never_go_on_are_asked_for_proof_and_stay_few() {
    let mut world = watched_world();
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    let mut config = client_config(ALPN[0]);
    world.media(200_000, |world| {
        for _ in 0..INITIALS / 5 {
            let mut id = [0; 16];
            noise.fill(&mut id);
            let from = noise.address();
            let id = ConnectionId::from_ref(&id);
            let mut liar = quiche::connect(None, &id, from, server(), &mut config).expect("a client");
            let mut first = [0; 1500];
            let (len, _) = liar.send(&mut first).expect("an Initial");
            assert_eq!(world.arrive(&mut first[..len], from), None);
        }
    });
    let stats = world.endpoint.stats();
    assert_eq!((world.endpoint.connections(), world.endpoint.half_open()), (1 + RETRY_MIN, RETRY_MIN));
    assert_eq!((stats.retries, stats.refused), ((INITIALS / 5 - RETRY_MIN) as u64, 0));
    assert!(world.endpoint.ids_known() <= IDS_A_CONNECTION + 2 * RETRY_MIN, "{}", world.endpoint.ids_known());
    // Who proves where it is gets in beside them.
    let newcomer = world.connect(ALPN[0]);
    assert!(newcomer.is_established());
    assert_eq!(world.endpoint.stats().accepted, 2 + RETRY_MIN as u64);
}

#[test]
fn short_headers_of_nobody_are_counted_and_answered_by_nothing() {
    let mut world = watched_world();
    let mut noise = Noise(0x1234_5678_9abc_def1);
    world.media(200_000, |world| {
        world.wire.packets.clear();
        for _ in 0..SHORT_HEADERS {
            let mut junk = [0u8; 1200];
            let len = 20 + (noise.next() % 1180) as usize;
            noise.fill(&mut junk[..len]);
            junk[0] = 0x40 | (junk[0] & 0x3f);
            let from = noise.address();
            assert_eq!(world.arrive(&mut junk[..len], from), None);
        }
        assert_eq!(world.wire.packets, []);
    });
    assert_eq!(world.endpoint.stats().junk, SHORT_HEADERS as u64);
    assert_eq!((world.endpoint.connections(), world.endpoint.ids_known()), (1, IDS_A_CONNECTION));
}
