//! First light over a network: the engine in one namespace, encoder and viewers in another (`scripts/testbed`).

use std::net::IpAddr;

use streams_tests::{Chromium, Encoder, Film, Forwarder, Input, Options, Stack, Testbed, played_well, report};

/// The engine's packet backends.
const IO_MODES: &[&str] = &["udp", "xdp:pop0"];

/// Native viewers at the same time.
const VIEWERS: usize = 3;

/// What a test of a line needs: an engine in side pop, and an encoder in side net that pushes to it.
struct Broadcast<'t> {
    testbed: &'t Testbed,
    stack: Stack,
    input: Input,
    encoder: Encoder,
    /// The player page at the clients' own loopback.
    _page: Forwarder,
    chromium: Chromium,
}

impl<'t> Broadcast<'t> {
    fn start(testbed: &'t Testbed, io: &str, shards: usize, host: IpAddr) -> Self {
        let chromium = Chromium::turn();
        let options = Options { namespace: testbed.pop.clone(), host, io: io.to_owned(), shards, ..Options::default() };
        let stack = Stack::start(&options);
        let page = testbed.forward_loopback(stack.ports.http_dev);
        let input = stack.live("testbed");
        let encoder = Encoder::push_from(&testbed.net, &input.rtmp_with_key(), Film::Gop2s);
        stack.wait_status(&input, "active");
        Self { testbed, stack, input, encoder, _page: page, chromium }
    }

    /// Native viewers and a Chromium watch at the same time; all of them have to play well.
    fn watch(&self, seconds: u32) {
        let urls = self.stack.urls(&self.input.id);
        std::thread::scope(|scope| {
            let browser = scope.spawn(|| {
                let arguments = ["--url", &urls.watch, "--seconds", &seconds.to_string()];
                let output = self.chromium.run(&self.testbed.net, &arguments);
                let report = report(&output);
                println!("{report}");
                assert!(output.status.success() && report["ok"] == true, "{report}");
            });
            let viewers: Vec<_> = (0..VIEWERS)
                .map(|index| {
                    let (broadcast, url) = (&self, &urls.moqt);
                    scope.spawn(move || broadcast.record(url, index, seconds))
                })
                .collect();
            viewers.into_iter().for_each(|viewer| viewer.join().expect("every native viewer played"));
            browser.join().expect("the browser played");
        });
    }

    fn record(&self, url: &str, index: usize, seconds: u32) {
        let file = self.stack.data.join(format!("out{index}.mp4"));
        let played = self.stack.play_from(&self.testbed.net, url, &file, &format!("{seconds}s"));
        assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
        played_well(&file, f64::from(seconds), true, Some(2));
    }

    /// The one session of the encoder goes on.
    fn expect_still_pushed(mut self) {
        assert_eq!(self.encoder.ended(), None, "{}", self.encoder.last_words());
        assert_eq!(self.stack.status(&self.input), "active");
    }
}

fn first_light(test: &str, shards: usize) {
    for io in IO_MODES {
        let Some(testbed) = Testbed::up(test, shards, &[]) else { return };
        println!("--io {io}, {shards} shards");
        let broadcast = Broadcast::start(&testbed, io, shards, Testbed::POP_IPV4);
        broadcast.watch(5);
        broadcast.expect_still_pushed();
    }
}

#[test]
fn one_shard_serves_native_viewers_and_chromium_across_a_network() {
    first_light("one_shard_serves_native_viewers_and_chromium_across_a_network", 1);
}

#[test]
fn two_shards_serve_native_viewers_and_chromium_across_a_network() {
    first_light("two_shards_serve_native_viewers_and_chromium_across_a_network", 2);
}

#[test]
fn four_shards_serve_native_viewers_and_chromium_across_a_network() {
    first_light("four_shards_serve_native_viewers_and_chromium_across_a_network", 4);
}

#[test]
fn viewers_and_encoder_are_served_over_ipv6() {
    for io in IO_MODES {
        let Some(testbed) = Testbed::up("viewers_and_encoder_are_served_over_ipv6", 2, &[]) else { return };
        println!("--io {io}");
        let broadcast = Broadcast::start(&testbed, io, 2, Testbed::POP_IPV6);
        broadcast.watch(5);
        broadcast.expect_still_pushed();
    }
}

#[test]
fn loss_delay_and_reordering_change_nothing_in_what_viewers_get() {
    let test = "loss_delay_and_reordering_change_nothing_in_what_viewers_get";
    for io in IO_MODES {
        let line = ["--loss", "1%", "--delay", "20ms", "--reorder", "0.5%"];
        let Some(testbed) = Testbed::up(test, 2, &line) else { return };
        println!("--io {io}");
        let broadcast = Broadcast::start(&testbed, io, 2, Testbed::POP_IPV4);
        broadcast.watch(10);
        broadcast.expect_still_pushed();
        let counters = testbed.counters();
        println!("{counters}");
        for direction in ["to_net", "to_pop"] {
            let count = |what: &str| counters[direction][what].as_u64().expect("a count");
            assert!(count("lost") > 0 && count("reordered") > 0, "the line was a bad one: {counters}");
            let unwanted = count("queue_full") + count("send_failed") + count("socket_overflowed");
            assert_eq!(unwanted, 0, "and no worse than it should be: {counters}");
        }
    }
}
