//! The seeds of the fuzzer, as they are and cut and changed a little, disturb neither codec nor relay.

mod sim;

use std::path::PathBuf;

use sim::Random;
use streams_relay_core::fuzzing;

/// The files of a target's seed corpus.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn changed(random: &mut Random, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(data.len() as u64 + 1) as usize;
        match random.below(4) {
            0 => data.truncate(at),
            1 => data.insert(at, random.next() as u8),
            2 => drop(data.splice(at..at, other.iter().copied())),
            _ if at < data.len() => data[at] = random.next() as u8,
            _ => {}
        }
    }
    data
}

#[test]
fn seeds_and_their_relatives_are_harmless() {
    let targets: [(&str, fn(&[u8])); 3] = [
        ("wire_control", fuzzing::wire_control),
        ("wire_data", fuzzing::wire_data),
        ("relay_session", fuzzing::relay_session),
    ];
    let mut random = Random::new(350);
    for (target, run) in targets {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{target}");
        seeds.iter().for_each(|seed| run(seed));
        for _ in 0..3_000 {
            let pick = |random: &mut Random| random.below(seeds.len() as u64) as usize;
            let (seed, other) = (pick(&mut random), pick(&mut random));
            run(&changed(&mut random, &seeds[seed], &seeds[other]));
        }
    }
}
