//! A link against a model: whatever is published and read in whatever order, the reader gets exactly the messages that the
//! model says are still there, in order, and counts the rest. A failing case prints its seed and is kept small by proptest.
#![cfg(not(loom))]

mod support;

use std::collections::VecDeque;

use proptest::prelude::*;
use streams_rings::{Full, Polled, WorkspaceBuilder};
use support::Folder;

#[derive(Debug, Clone)]
enum Step {
    /// Publish a message of this many thousandths of the longest one, cut in two at these thousandths.
    Publish(usize, usize),
    /// Poll so many times.
    Poll(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let publish =
        (prop_oneof![0usize..=1_000, 0usize..=20], 0usize..=1_000).prop_map(|(len, cut)| Step::Publish(len, cut));
    prop::collection::vec(prop_oneof![3 => publish, 2 => (1usize..8).prop_map(Step::Poll)], 1..200)
}

fn shapes() -> impl Strategy<Value = (usize, usize, usize)> {
    (1u32..7, 8u32..14, 1usize..400).prop_map(|(depth, data, frag)| {
        let data_len = 1usize << data;
        (1 << depth, data_len, frag.min(data_len / 2))
    })
}

fn message(sig: u64, len: usize) -> Vec<u8> {
    (0..len).map(|i| (sig as usize).wrapping_mul(131).wrapping_add(i) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_unreliable_link_delivers_or_counts((depth, data_len, frag_len_max) in shapes(), steps in steps()) {
        let folder = Folder::new();
        let builder = WorkspaceBuilder::new("model").link("l", depth, data_len, frag_len_max);
        let workspace = builder.create(folder.file("w")).expect("made");
        let (mut writer, mut reader) = (workspace.link_writer("l").expect("w"), workspace.link_reader("l").expect("r"));
        let (max, mut next, mut out) = (writer.message_len_max(), 0u64, Vec::new());
        // Messages published and not yet read: sig, first seq, length, frags.
        let mut waiting: VecDeque<(u64, u64, usize, u64)> = VecDeque::new();
        for step in steps {
            match step {
                Step::Publish(len, cut) => {
                    let len = len * max / 1_000;
                    let (content, first) = (message(next, len), writer.seq());
                    let (head, tail) = content.split_at(len * cut / 1_000);
                    let after = writer.publish_parts(next, 0, &[head, tail]);
                    prop_assert_eq!(after - first, (len as u64).div_ceil(frag_len_max as u64).max(1));
                    waiting.push_back((next, first, len, after - first));
                    next += 1;
                }
                Step::Poll(times) => for _ in 0..times {
                    match reader.poll(|_| true, &mut out) {
                        Polled::Message { sig, seq, .. } => {
                            let expected = waiting.pop_front();
                            prop_assert_eq!(expected.map(|w| (w.0, w.1)), Some((sig, seq)));
                            prop_assert_eq!(&out, &message(sig, expected.map_or(0, |w| w.2)));
                        }
                        Polled::Empty => prop_assert!(waiting.is_empty()),
                        Polled::Overrun { lost } => {
                            prop_assert_eq!(lost, waiting.drain(..).map(|w| w.3).sum::<u64>());
                            prop_assert_eq!(reader.seq(), writer.seq());
                        }
                        Polled::Skipped => prop_assert!(false, "all are wanted"),
                    }
                }
            }
            // What both rings still hold, the reader must find; a sixteenth of the bytes is reserved ahead.
            let frags: u64 = waiting.iter().map(|w| w.3).sum();
            let bytes: usize = waiting.iter().map(|w| w.2 + 64 * w.3 as usize).sum();
            let kept = data_len - data_len / 16;
            if frags <= depth as u64 && bytes + frag_len_max.next_multiple_of(64) <= kept && !waiting.is_empty() {
                let polled = reader.poll(|_| true, &mut out);
                prop_assert!(matches!(polled, Polled::Message { .. }), "{polled:?} with {frags} frags and {bytes} bytes");
                waiting.pop_front();
            }
        }
        prop_assert_eq!(reader.stats().malformed_frags, 0);
    }

    #[test]
    fn a_reliable_link_delivers_all_or_refuses((depth, data_len, frag_len_max) in shapes(), steps in steps()) {
        let folder = Folder::new();
        let builder = WorkspaceBuilder::new("model").link("l", depth, data_len, frag_len_max).fseq("f");
        let workspace = builder.create(folder.file("w")).expect("made");
        let fseq = workspace.fseq("f").expect("f");
        let mut writer = workspace.reliable_writer("l", std::slice::from_ref(&fseq)).expect("w");
        let mut reader = workspace.reliable_reader("l", fseq).expect("r");
        let (max, mut next, mut out) = (writer.message_len_max(), 0u64, Vec::new());
        let mut waiting: VecDeque<(u64, usize)> = VecDeque::new();
        for step in steps {
            match step {
                Step::Publish(len, cut) => {
                    let len = len * max / 1_000;
                    let content = message(next, len);
                    let (head, tail) = content.split_at(len * cut / 1_000);
                    match writer.try_publish_parts(next, 0, &[head, tail]) {
                        Ok(_) => waiting.push_back((next, len)),
                        Err(full) => {
                            prop_assert_eq!(full, Full::NoCredit);
                            // Nothing is refused for long: a reader that reads all makes room for anything.
                            while let Polled::Message { sig, .. } = reader.poll(&mut out) {
                                prop_assert_eq!(waiting.pop_front().map(|w| w.0), Some(sig));
                            }
                            prop_assert!(waiting.is_empty());
                            prop_assert!(writer.try_publish(next, 0, &content).is_ok());
                            waiting.push_back((next, len));
                        }
                    }
                    next += 1;
                }
                Step::Poll(times) => for _ in 0..times {
                    match reader.poll(&mut out) {
                        Polled::Message { sig, .. } => {
                            let (expected, len) = waiting.pop_front().expect("a message was waiting");
                            prop_assert_eq!((sig, &out), (expected, &message(expected, len)));
                        }
                        Polled::Empty => prop_assert!(waiting.is_empty()),
                        other => prop_assert!(false, "{:?} on a reliable link", other),
                    }
                }
            }
        }
    }
}
