//! Reports from samples that the test makes, and screens drawn from them.

use std::path::Path;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use streams_contract::{Counter, InputState, Protocol, RuntimeEntry, RuntimeTrack};
use streams_rings::Signal;

use super::report::{Health, Report, rate};
use super::sample::{LinkSample, Sample, ShardSample};
use super::screen::{Pressed, key_pressed};
use super::view::{Screen, Tab, draw};
use super::{json, text};

const SECOND_NS: u64 = 1_000_000_000;
const DATA: &str = "/var/lib/streams";

fn shard(at_ns: u64, values: &[(Counter, u64)]) -> ShardSample {
    let mut counters = vec![0; Counter::COUNT];
    for (counter, value) in values {
        counters[counter.index()] = *value;
    }
    ShardSample { signal: Signal::Run, heartbeat_ns: at_ns, counters }
}

fn sample(at_s: u64, shards: Vec<ShardSample>) -> Sample {
    let link = |name: &str, reader: &str, seq: u64, reader_seq| LinkSample {
        name: name.to_owned(),
        reader: reader.to_owned(),
        at_ns: at_s * SECOND_NS,
        depth: 4_096,
        seq0: u64::MAX - 99,
        seq: (u64::MAX - 99).wrapping_add(seq),
        chunk: Some(u32::MAX.wrapping_add(seq as u32)),
        reader_seq,
        lost: 0,
    };
    let seq = 50 + 100 * at_s;
    Sample {
        generation: "shards.7".to_owned(),
        pid: 4_242,
        version: "0.1.0".to_owned(),
        started_unix_ns: 1_000 * SECOND_NS,
        now_unix_ns: (1_000 + 3_725 + at_s) * SECOND_NS,
        now_ns: at_s * SECOND_NS + 30_000_000,
        shards,
        links: vec![
            link("rx.0", "shard 0", seq, Some((u64::MAX - 99).wrapping_add(seq - 3))),
            link("media.0", "shard 1", seq, None),
        ],
        inputs: vec![RuntimeEntry {
            input: "lv_01J0000000000000000000000A".to_owned(),
            state: InputState::Active,
            protocol: Protocol::Rtmp,
            shard: 1,
            since_ms: (1_000 + 3_700) * 1_000,
            tracks: vec![RuntimeTrack {
                codec: "avc1.64001f".to_owned(),
                width: Some(1280),
                height: Some(720),
                ..RuntimeTrack::default()
            }],
            last_error: None,
            warnings: Vec::new(),
            link: None,
        }],
    }
}

/// Two seconds of two shards: 1 s apart by heartbeat, 6,000 packets a second out in all.
fn two_samples() -> (Sample, Sample) {
    let at = |s: u64, n: u64| {
        let ns = s * SECOND_NS;
        let busy = [Counter::BusyNs, Counter::HousekeepingNs, Counter::SleepNs, Counter::EdgeNs];
        let shard = |sent: u64, busy_ns: u64| {
            let times = busy.into_iter().zip([busy_ns * n, 10_000_000 * n, 500_000_000 * n, 40_000_000 * n]);
            let mut values: Vec<_> = times.collect();
            values.extend([
                (Counter::TxDatagrams, sent * n),
                (Counter::TxBytes, sent * n * 1_250),
                (Counter::SessionsOpen, 250),
                (Counter::ConnectionsOpen, 260),
                (Counter::CacheBytes, 3 << 20),
            ]);
            self::shard(ns, &values)
        };
        sample(s, vec![shard(2_000, 100_000_000), shard(4_000, 450_000_000)])
    };
    (at(10, 5), at(11, 6))
}

fn report() -> Report {
    let (before, after) = two_samples();
    Report::between(Some(&before), &after)
}

#[test]
fn rates_hold_over_a_wrap_and_are_none_after_a_restart() {
    assert_eq!(rate(100, 350, SECOND_NS / 2), 500.0);
    assert_eq!(rate(u64::MAX - 9, 40, SECOND_NS), 50.0, "a counter that wrapped");
    assert_eq!(rate(1_000, 3, SECOND_NS), 0.0, "one that began anew");
    assert_eq!(rate(0, 9, 0), 0.0, "no time has passed");

    let (before, mut after) = two_samples();
    after.generation = "shards.8".to_owned();
    let restarted = Report::between(Some(&before), &after);
    assert_eq!((restarted.interval, restarted.shards[0].rate(Counter::TxBytes)), (None, None));
    assert!(restarted.shards[0].time.is_none() && restarted.links[0].frags_per_s.is_none());
    assert_eq!(restarted.shards[1].value(Counter::SessionsOpen), 250, "levels are known at the first look");
}

#[test]
fn shards_add_up_and_their_time_is_all_accounted_for() {
    let report = report();
    let sent = |shard: usize| report.shards[shard].rate(Counter::TxDatagrams);
    assert_eq!((sent(0), sent(1), report.all.rate(Counter::TxDatagrams)), (Some(2e3), Some(4e3), Some(6e3)));
    assert_eq!(report.all.value(Counter::SessionsOpen), 500);
    let time = report.shards[1].time.unwrap();
    assert_eq!([time.busy, time.edge, time.housekeeping, time.sleep].map(f64::round), [45.0, 4.0, 1.0, 50.0]);
    assert!((time.spin + time.busy + time.edge + time.housekeeping + time.sleep - 100.0).abs() < 1e-6);
    assert!((report.shards[0].time.unwrap().spin - 35.0).abs() < 1e-6);
    assert!((report.all.time.unwrap().busy - 27.5).abs() < 1e-6);
}

#[test]
fn links_tell_rate_and_lag_over_the_wrap_of_their_numbers() {
    let report = report();
    let rx = &report.links[0];
    assert_eq!((rx.published, rx.frags_per_s, rx.lag), (1_150, Some(100.0), Some(3)));
    assert_eq!(rx.bits_per_s, Some(100.0 * 64.0 * 8.0));
    assert_eq!(report.shards[0].rx_fill, Some((3, 4_096)));
    assert_eq!(report.links[1].lag, None, "a reader that has not said where it is");
}

#[test]
fn an_engine_that_beats_no_more_is_dead_and_one_that_said_so_has_ended() {
    let (_, mut sample) = two_samples();
    assert_eq!(Health::of(&sample), Health::Runs);
    sample.shards[1].signal = Signal::Boot;
    assert_eq!(Health::of(&sample), Health::Starting);
    sample.now_ns += 12 * SECOND_NS;
    let Health::Silent { pid: 4_242, since } = Health::of(&sample) else { panic!("{:?}", Health::of(&sample)) };
    assert_eq!(since.as_secs(), 12);
    assert!(Health::of(&sample).gone().unwrap().contains("12 s ago (pid 4242)"));
    sample.shards[0].signal = Signal::Halt;
    assert_eq!(Health::of(&sample), Health::Ended);
    sample.shards.clear();
    assert!(Health::of(&sample).gone().is_some(), "a workspace without shards is no engine");
}

#[test]
fn the_object_names_units_and_leaves_out_backends_that_do_not_run() {
    let object = json::report(&report(), Path::new(DATA));
    assert_eq!(object["engine"]["state"], "running");
    assert_eq!((&object["engine"]["uptime_s"], &object["engine"]["generation"]), (&3_736.into(), &7.into()));
    assert_eq!(object["shards"][1]["rates"]["tx_datagrams_per_s"], 4_000.0);
    assert_eq!(object["shards"][1]["rates"]["tx_bits_per_s"], 4e7);
    assert_eq!(object["all"]["levels"]["sessions_open"], 500);
    assert_eq!(object["all"]["totals"]["tx_bytes"], 6 * 6_000 * 1_250);
    assert_eq!(object["shards"][0]["time"]["busy_percent"], 10.0);
    assert_eq!(object["links"][0]["lag_frags"], 3);
    assert_eq!(object["inputs"][0]["state"], "active");
    assert!(
        object["all"]["totals"].get("xdp_received").is_none() && object["all"].get("xdp_missing_datagrams").is_none()
    );

    let (before, mut after) = two_samples();
    after.shards[0].counters[Counter::XdpRedirected.index()] = 90;
    after.shards[0].counters[Counter::XdpReceived.index()] = 88;
    let object = json::report(&Report::between(Some(&before), &after), Path::new(DATA));
    assert_eq!(object["all"]["totals"]["xdp_redirected"], 90);
    assert_eq!(object["shards"][0]["xdp_missing_datagrams"], 2);
}

#[test]
fn the_text_has_every_measure_and_every_link() {
    let text = text::report(&report(), Path::new(DATA));
    for wanted in ["pid 4242", "1h02m", "out bit/s", "40.0M", "60.0M", "media.0", "lv_01J", "1280x720", "3.0 MiB"] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
}

fn drawn(screen: &Screen, width: u16, height: u16) -> (String, Vec<Color>) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, screen)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    let text = (0..height).map(line).collect::<Vec<_>>().join("\n");
    (text, buffer.content.iter().map(|cell| cell.fg).collect())
}

fn screen(report: Option<Report>, colour: bool) -> Screen {
    let mut screen = Screen::new(Path::new(DATA), Duration::from_secs(1), colour);
    screen.report = report;
    screen
}

#[test]
fn every_size_shows_the_key_facts() {
    let mut screen = screen(Some(report()), true);
    for (width, height) in [(80, 24), (40, 10), (160, 50)] {
        let (text, _) = drawn(&screen, width, height);
        for wanted in ["RUNNING", "pid 4242", "1 Shards", "busy%", "out bit/s", "sess", "60.0M", "250", "45"] {
            assert!(text.contains(wanted), "{wanted} is not in {width}x{height}:\n{text}");
        }
    }
    let (wide, _) = drawn(&screen, 200, 50);
    for wanted in ["sleep%", "toss out/s", "3.0 MiB", "# busy", "every 1 s", DATA] {
        assert!(wide.contains(wanted), "{wanted} is not in\n{wide}");
    }
    assert!(!wide.contains("more column"), "{wide}");
    assert!(drawn(&screen, 80, 24).0.contains("more columns"), "what has no room is told");
    screen.show(Tab::Links);
    let (links, _) = drawn(&screen, 80, 24);
    assert!(links.contains("media.0") && links.contains("overrun") && links.contains("1150"), "{links}");
    screen.show(Tab::Inputs);
    let (inputs, _) = drawn(&screen, 110, 24);
    assert!(inputs.contains("lv_01J0000000000000000000000A") && inputs.contains("1280x720"), "{inputs}");
}

#[test]
fn no_size_is_too_small() {
    for report in [None, Some(report())] {
        let mut screen = screen(report, true);
        for tab in [Tab::Shards, Tab::Links, Tab::Inputs] {
            screen.show(tab);
            screen.scroll(isize::MAX);
            for (width, height) in [(1, 1), (2, 1), (1, 50), (300, 1), (5, 5), (20, 3), (40, 6), (59, 14)] {
                drawn(&screen, width, height);
            }
        }
    }
}

#[test]
fn a_dead_engine_and_none_at_all_are_told() {
    let (before, mut after) = two_samples();
    after.now_ns += 9 * SECOND_NS;
    let (text, colours) = drawn(&screen(Some(Report::between(Some(&before), &after)), true), 80, 24);
    assert!(text.contains("NO ENGINE") && text.contains("last heartbeat was 9 s ago"), "{text}");
    assert!(colours.contains(&Color::Red));
    let (text, _) = drawn(&screen(None, true), 80, 24);
    assert!(text.contains("NO ENGINE") && text.contains(DATA) && text.contains("streams up"), "{text}");
}

#[test]
fn without_colour_there_is_none() {
    let (before, mut after) = two_samples();
    after.shards[0].counters[Counter::RxOverrun.index()] = 5;
    after.shards[1].counters[Counter::BusyNs.index()] += SECOND_NS / 2;
    after.shards[1].counters[Counter::SleepNs.index()] -= SECOND_NS / 2;
    let report = Report::between(Some(&before), &after);
    let (_, colours) = drawn(&screen(Some(report.clone()), false), 160, 50);
    assert!(colours.iter().all(|colour| *colour == Color::Reset));
    let (_, colours) = drawn(&screen(Some(report), true), 160, 50);
    assert!(colours.contains(&Color::Red) && colours.contains(&Color::Yellow));
}

#[test]
fn keys_move_the_view_and_end_it() {
    let mut screen = screen(Some(report()), true);
    let mut press = |code, modifiers| {
        let pressed = key_pressed(&mut screen, KeyEvent::new(code, modifiers));
        (pressed, screen.tab, screen.interval)
    };
    let none = KeyModifiers::NONE;
    assert_eq!(press(KeyCode::Tab, none).1, Tab::Links);
    assert_eq!(press(KeyCode::Left, none).1, Tab::Shards);
    assert_eq!(press(KeyCode::Left, none).1, Tab::Inputs);
    assert_eq!(press(KeyCode::Char('1'), none).1, Tab::Shards);
    assert_eq!(press(KeyCode::Char('+'), none).2, Duration::from_secs(2));
    for _ in 0..20 {
        press(KeyCode::Char('-'), none);
    }
    assert_eq!(press(KeyCode::Char('-'), none).2, Duration::from_millis(100));
    assert_eq!(press(KeyCode::Char('c'), none).0, Pressed::Stay);
    assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL).0, Pressed::Quit);
    assert_eq!(press(KeyCode::Char('q'), none).0, Pressed::Quit);
}
