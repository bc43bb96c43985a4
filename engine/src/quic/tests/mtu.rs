//! How long the packets become.

use super::*;

impl World {
    /// Sends some of `stream` once. Gives the lengths of the packets that the path took.
    fn burst(&mut self, stream: &mut Option<StreamId>) -> Vec<usize> {
        self.pump(|io| {
            let id = *stream.get_or_insert_with(|| io.open_uni().expect("a stream"));
            let _ = io.write(id, &[7; 12_000], false);
            false
        });
        self.flush();
        let lens = self.wire.packets.iter().map(|(_, packet)| packet.len()).filter(|len| *len <= self.mtu).collect();
        self.down();
        self.exchange();
        self.read_all();
        self.exchange();
        lens
    }

    /// What most packets of the last of many bursts have: a burst may bring one probe along.
    fn packet_len(&mut self) -> usize {
        let mut stream = None;
        let mut lens = (0..50).map(|_| self.burst(&mut stream)).last().unwrap_or_default();
        lens.sort_unstable();
        *lens.get(lens.len() / 2).expect("packets")
    }
}

fn on_a_path_of(mtu: usize) -> World {
    let mut world = World::before_handshake(ALPN[0], EndpointLimits::default());
    world.mtu = mtu;
    world.exchange();
    world
}

#[test]
fn packets_become_as_long_as_the_path_takes() {
    assert_eq!(on_a_path_of(usize::MAX).packet_len(), SEND_PAYLOAD_LEN_MAX);
    // A tunnel on the way.
    let found = on_a_path_of(1_400).packet_len();
    assert!((1_390..=1_400).contains(&found), "{found}");
}

#[test]
fn on_another_path_packets_are_short_again() {
    let mut world = World::new(ALPN[0]);
    assert_eq!(world.packet_len(), SEND_PAYLOAD_LEN_MAX);
    world.nat = SocketAddr::from(([198, 51, 100, 9], 777));
    world.client.send_ack_eliciting().expect("a path");
    world.exchange();
    assert_eq!(world.endpoint.stats().migrations, 1);
    assert_eq!(world.packet_len(), 1_200);
}

/// Loss timers of quiche run by the machine's clock, so this waits for it: some tenths of a second.
#[test]
fn a_path_that_takes_less_than_before_is_noticed() {
    let mut world = World::new(ALPN[0]);
    assert_eq!(world.packet_len(), SEND_PAYLOAD_LEN_MAX);
    world.mtu = 1_300;
    let (mut stream, deadline) = (None, Instant::now() + Duration::from_secs(20));
    while world.burst(&mut stream).len() < 5 {
        assert!(Instant::now() < deadline, "nothing arrives any more");
        let due = world.endpoint.next_timeout().expect("loss is noticed by a timer");
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        world.now = Instant::now();
        world.endpoint.handle_timeouts(world.now, &mut world.record);
    }
    let found = world.packet_len();
    assert!((1_200..=1_300).contains(&found), "{found}");
}
