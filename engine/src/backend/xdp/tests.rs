//! The queue's rings over a veth pair, with this machine's own kernel at the other side of them.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use xsk_rs::FrameDesc;

use super::frames::FRAME_LEN;
use super::queue::{Binding, Ends, Queue, RingSizes};
use super::setup::{BUSY_TIME_MAX, open_when_free};
use crate::backend::link::{HERE, Link, THERE, inside};

const SIZES: RingSizes = RingSizes { fill: 64, rx: 64, tx: 64, completion: 64, send_frames: 100 };
const PATIENCE: Duration = Duration::from_secs(20);

fn binding() -> Binding {
    Binding { interface: "va".parse().expect("a name"), queue: 0, zero_copy: false }
}

fn open(shards: usize) -> (Queue, Vec<Ends>) {
    Queue::open(&binding(), shards, SIZES).expect("an AF_XDP queue")
}

/// Puts a frame of no known protocol into the tx ring.
fn transmit(queue: &Queue, end: &mut Ends, frame: &mut FrameDesc) -> bool {
    // SAFETY: the frame is out of every ring, and the slice is gone before it goes into one.
    unsafe { queue.frames.writable(frame, 60).fill(0xff) };
    // SAFETY: as above; nobody touches it until it is reclaimed.
    unsafe { end.transmit(frame) }
}

#[test]
fn frames_go_round_and_a_full_ring_takes_no_more() {
    let Some(link) = Link::new("frames_go_round_and_a_full_ring_takes_no_more", "rounds") else { return };
    link.up(true);
    inside(&link.here, || {
        let (queue, mut ends) = open(2);
        assert_eq!(queue.levels(), (SIZES.fill, 0), "the kernel has all receive frames");
        for (shard, end) in ends.iter_mut().enumerate() {
            let mut free = std::mem::take(&mut end.free);
            let all: BTreeSet<usize> = free.iter().map(|frame| frame.addr() / FRAME_LEN).collect();
            for round in 0..50 {
                let mut sent = 0;
                while let Some(mut frame) = free.pop() {
                    if !transmit(&queue, end, &mut frame) {
                        free.push(frame);
                        break;
                    }
                    sent += 1;
                }
                assert_eq!((sent, end.untaken()), (SIZES.tx, SIZES.tx), "round {round}: not one more than it holds");
                assert!(!end.has_room() && end.needs_wakeup(), "the kernel sleeps until it is woken");
                let deadline = Instant::now() + PATIENCE;
                while free.len() < all.len() {
                    assert!(Instant::now() < deadline, "{} of {} came back", free.len(), all.len());
                    end.wake().expect("woken");
                    queue.reclaim(shard, &mut free);
                }
                let back: BTreeSet<usize> = free.iter().map(|frame| frame.addr() / FRAME_LEN).collect();
                assert_eq!(back, all, "each frame came back once, and to its shard");
            }
        }
    });
}

#[test]
fn a_queue_that_was_just_let_go_is_waited_for_and_one_that_is_held_is_told() {
    let Some(link) = Link::new("a_queue_that_was_just_let_go_is_waited_for_and_one_that_is_held_is_told", "busy")
    else {
        return;
    };
    link.up(true);
    inside(&link.here, || {
        let held = open(1);
        let began = Instant::now();
        let error = open_when_free(&binding(), 1, SIZES).map(drop).expect_err("held");
        assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
        assert!(began.elapsed() >= BUSY_TIME_MAX, "given up after {:?}", began.elapsed());
        drop(held);
        for _ in 0..5 {
            open_when_free(&binding(), 1, SIZES).map(drop).expect("free again, after a moment at most");
        }
    });
}

#[test]
fn without_a_program_that_redirects_the_kernel_gets_every_packet() {
    let Some(link) = Link::new("without_a_program_that_redirects_the_kernel_gets_every_packet", "bystander") else {
        return;
    };
    link.up(true);
    let bind = |address| move || UdpSocket::bind((address, 0)).expect("bound");
    let (here, there) = (inside(&link.here, bind(HERE)), inside(&link.there, bind(THERE)));
    let (_queue, mut ends) = inside(&link.here, || open(1));
    here.set_read_timeout(Some(PATIENCE)).expect("set");
    there.send_to(b"hello", here.local_addr().expect("bound")).expect("sent");
    assert_eq!(here.recv(&mut [0; 16]).expect("it came"), 5);
    assert_eq!(ends[0].waiting(), 0);
}
