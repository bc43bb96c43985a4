//! Bytes that are no encoder's and no viewer's: refused, counted, and nobody else notices.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use streams_tests::{Encoder, Film, Options, Stack, decode_errors, eventually};

fn connect(stack: &Stack) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", stack.ports.rtmp)).expect("RTMP listens");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    socket
}

/// The server ended the connection.
fn closed(mut socket: TcpStream) -> Duration {
    let since = Instant::now();
    let mut sink = [0; 4096];
    loop {
        match socket.read(&mut sink) {
            Ok(0) => return since.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return since.elapsed(),
            Err(error) => panic!("the connection is still open after {:?}: {error}", since.elapsed()),
        }
    }
}

/// C0, C1 and the answer's C2, so that what follows is read as chunks.
fn shake_hands(socket: &mut TcpStream) {
    let mut hello = vec![0u8; 1 + 1536];
    hello[0] = 3;
    socket.write_all(&hello).expect("written");
    let mut answer = vec![0u8; 1 + 2 * 1536];
    socket.read_exact(&mut answer).expect("S0, S1, S2");
    socket.write_all(&answer[1..1537]).expect("written");
}

#[test]
fn garbage_on_the_rtmp_port_harms_nobody() {
    let options = Options { toml: "[ingest]\nhandshake_timeout_ms = 3000\n".into(), ..Options::default() };
    let stack = Stack::start(&options);
    let input = stack.live("bystander");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let url = stack.urls(&input.id).moqt;
    let file = stack.data.join("out.mp4");
    let mut viewer = streams_tests::Owned::new(
        stack.command(&["play", &url, "-o", file.to_str().expect("UTF-8"), "--for", "12s"]).spawn().expect("it starts"),
    );
    let refused_before = stack.metric("streams_engine_ingest_refused_total");

    let mut garbage = connect(&stack);
    let _ = garbage.write_all(&[0xff; 8192]);
    closed(garbage);

    let mut slow = connect(&stack);
    let loris = std::thread::spawn(move || {
        for _ in 0..40 {
            if slow.write_all(&[3]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        closed(slow)
    });

    // A chunk whose message says 16 MiB, and then goes on and on.
    let mut endless = connect(&stack);
    shake_hands(&mut endless);
    let header = [3u8, 0, 0, 0, 0xff, 0xff, 0xff, 20, 0, 0, 0, 0];
    let _ = endless.write_all(&header);
    let body = [0u8; 128];
    let mut sent = 0usize;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(20)
        && endless.write_all(&body).is_ok()
        && endless.write_all(&[0xc3]).is_ok()
    {
        sent += 129;
    }
    assert!(sent < 64 << 20, "{sent} bytes of one message were taken");
    let in_time = loris.join().expect("the slow one ended");
    assert!(in_time < Duration::from_secs(10), "the slow connection lived for {in_time:?}");

    assert!(stack.metric("streams_engine_ingest_refused_total") > refused_before);
    assert!(viewer.wait().success());
    let complaints = decode_errors(&file);
    assert!(complaints.is_empty(), "{complaints}");
}

#[test]
fn silent_connections_lock_no_encoder_out_and_cut_none() {
    // Fewer places for encoders than there are silent ones, and those hold theirs for longer than the test takes.
    let toml = "[ingest]\nconnections_max = 4\nhandshake_timeout_ms = 600000\n".into();
    let stack = Stack::start(&Options { toml, ..Options::default() });
    let input = stack.live("bystander");
    let refused = || stack.metric("streams_engine_ingest_refused_total");
    let first: Vec<TcpStream> = (0..100).map(|_| connect(&stack)).collect();
    // An address has 32 places a shard: of 100 some had to go.
    eventually("the oldest have gone", || refused() >= 1.0);
    let mut encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let before = refused();
    let second: Vec<TcpStream> = (0..100).map(|_| connect(&stack)).collect();
    eventually("each newer one costs an older one its place", || refused() >= before + 36.0);
    assert!(encoder.ended().is_none(), "the encoder was cut");
    stack.wait_status(&input, "active");
    // The broadcaster comes back among them, without a goodbye.
    encoder.kill_hard();
    stack.wait_status(&input, "reconnecting");
    let _again = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    drop((first, second));
}

#[test]
fn junk_on_the_quic_port_is_counted_and_dropped() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("bystander");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let to = ("127.0.0.1", stack.ports.quic);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    println!("seed {state:#x}");
    for round in 0..20_000u32 {
        let mut packet = [0u8; 1200];
        for byte in &mut packet {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state as u8;
        }
        // Short headers, long headers of QUIC version 1, and plain noise.
        match round % 3 {
            0 => packet[0] = 0x40 | (packet[0] & 0x3f),
            1 => packet[..5].copy_from_slice(&[0xc0, 0, 0, 0, 1]),
            _ => {}
        }
        let len = 1 + (state % 1200) as usize;
        // A full socket buffer is the engine's to drop.
        let _ = socket.send_to(&packet[..len], to);
    }
    eventually("the junk is counted", || stack.metric("streams_engine_rx_dropped_total") > 1000.0);
    let file = stack.data.join("out.mp4");
    let played = stack.play(&stack.urls(&input.id).moqt, &file, "4s");
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    let complaints = decode_errors(&file);
    assert!(complaints.is_empty(), "{complaints}");
}
