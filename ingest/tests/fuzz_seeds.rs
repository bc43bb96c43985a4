//! The entry points for fuzzing, with what real encoders sent and a few thousand mutations of it.

use std::fs;
use std::path::Path;

use streams_ingest::fuzzing;

/// Mutations of each seed.
const MUTATIONS: u64 = 200;

/// The seeds of a target, by name.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).expect("a corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    assert!(paths.len() >= 3, "{}", folder.display());
    paths.into_iter().map(|path| fs::read(path).expect("readable")).collect()
}

/// Runs every seed and its mutations: bytes changed, pieces left out, doubled, or cut off.
fn run(target: &str, entry: fn(&[u8])) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = move |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(limit.max(1)).expect("small")).expect("small")
    };
    for seed in seeds(target) {
        entry(&seed);
        for _ in 0..MUTATIONS {
            let mut bytes = seed.clone();
            for _ in 0..=below(8) {
                let at = below(bytes.len());
                match below(4) {
                    0 => drop(bytes.drain(at..(at + below(16)).min(bytes.len()))),
                    1 => bytes.extend_from_within(at..(at + below(64)).min(bytes.len())),
                    2 => bytes.truncate(at.max(1)),
                    _ => {
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte = u8::try_from(below(256)).expect("a byte");
                        }
                    }
                }
            }
            entry(&bytes);
        }
    }
}

#[test]
fn encoders_sessions_and_their_mutations_never_panic() {
    run("rtmp_session", fuzzing::rtmp_session);
}

#[test]
fn tags_and_their_mutations_never_panic() {
    run("flv_tags", fuzzing::flv_tags);
}

#[test]
fn codec_configurations_and_their_mutations_never_panic() {
    run("avc_config", fuzzing::avc_config);
    run("aac_config", fuzzing::aac_config);
}
