//! Small changes to real bytes: lengths that lie, parts that repeat, vanish or come from elsewhere.

use crate::random::Random;

/// Longest input; what a parser reads in one piece is shorter.
pub(crate) const INPUT_LEN_MAX: usize = 128 * 1024;
/// Most edits of one input. More of them leave nothing of the seed that a parser would follow.
const EDITS_MAX: usize = 12;
/// Longest piece that one edit inserts, repeats or removes.
const PIECE_LEN_MAX: usize = 512;
/// Edges of the integers that protocols carry: 6, 7, 8, 14, 16, 24, 30, 31, 32 and 62 bits.
const EDGES: [u64; 16] = [
    0,
    1,
    0x3F,
    0x7F,
    0x80,
    0xFF,
    0x3FFF,
    0x7FFF,
    0xFFFF,
    0x00FF_FFFE,
    0x00FF_FFFF,
    0x3FFF_FFFF,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    0x3FFF_FFFF_FFFF_FFFF,
    u64::MAX,
];

/// One input made of the seeds; now and then of noise alone.
pub(crate) fn input(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let seed = seeds.get(random.below(seeds.len()));
    let Some(seed) = seed.filter(|_| random.below(64) != 0) else {
        let len = random.below(PIECE_LEN_MAX);
        return random.bytes(len);
    };
    let mut bytes = seed.clone();
    // Most parsers stop at the first mistake, so a single edit often reaches furthest.
    let edits = 1 + random.below(EDITS_MAX).min(random.below(EDITS_MAX));
    for _ in 0..edits {
        edit(random, &mut bytes, seeds);
    }
    bytes.truncate(INPUT_LEN_MAX);
    bytes
}

fn edit(random: &mut Random, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = random.below(bytes.len() + 1);
    let end = (at + 1 + random.below(PIECE_LEN_MAX)).min(bytes.len()).max(at);
    match random.below(9) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.byte();
            }
        }
        2 => overwrite_integer(random, bytes, at),
        3 => {
            let len = random.below(16);
            let noise = random.bytes(len);
            bytes.splice(at..at, noise);
        }
        4 => drop(bytes.drain(at..end)),
        5 => {
            let piece = bytes.get(at..end).unwrap_or_default().to_vec();
            bytes.splice(end..end, piece);
        }
        6 => {
            let piece = piece_of_another(random, seeds);
            bytes.splice(at..end, piece);
        }
        7 => bytes.truncate(at),
        _ => {
            let piece = bytes.drain(at..end).collect::<Vec<_>>();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, piece);
        }
    }
}

fn overwrite_integer(random: &mut Random, bytes: &mut [u8], at: usize) {
    let value = EDGES.get(random.below(EDGES.len())).copied().unwrap_or_default();
    let width = [1, 2, 3, 4, 8].get(random.below(5)).copied().unwrap_or(1);
    let wide = if random.below(4) == 0 { value.swap_bytes() >> (64 - 8 * width) } else { value };
    let text = wide.to_be_bytes();
    for (target, byte) in bytes.iter_mut().skip(at).zip(text.iter().skip(8 - width)) {
        *target = *byte;
    }
}

fn piece_of_another(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let Some(other) = seeds.get(random.below(seeds.len())) else { return Vec::new() };
    let at = random.below(other.len());
    let end = (at + 1 + random.below(PIECE_LEN_MAX)).min(other.len()).max(at);
    other.get(at..end).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_none_is_too_long() {
        let seeds = [vec![7; 300], vec![9; INPUT_LEN_MAX]];
        let made = |seed| {
            let mut random = Random::new(seed);
            (0..2_000).map(|_| input(&mut random, &seeds)).collect::<Vec<_>>()
        };
        let first = made(1);
        assert_eq!(first, made(1));
        assert_ne!(first, made(2));
        assert!(first.iter().all(|input| input.len() <= INPUT_LEN_MAX));
        assert!(first.iter().any(|input| input.len() < 300), "some are shorter than every seed");
    }
}
