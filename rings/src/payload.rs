//! Bytes to shared words and back. Payload words are relaxed atomics, so reading one that is being overwritten is a wrong
//! value to be thrown away, never a data race.

use crate::region::WORD;
use crate::sync::{AtomicU64, Ordering};

/// Bytes gathered from several parts, taken frag by frag.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    current: &'a [u8],
    rest: &'a [&'a [u8]],
}

impl<'a> Source<'a> {
    #[inline]
    pub(crate) fn new(parts: &'a [&'a [u8]]) -> Self {
        Source { current: &[], rest: parts }
    }

    #[inline]
    pub(crate) fn whole(payload: &'a [u8]) -> Self {
        Source { current: payload, rest: &[] }
    }

    /// Stores the next `len` bytes; the last word is filled up with zeros. The caller knows that so many are left and that
    /// `words` holds them.
    #[inline]
    pub(crate) fn store(&mut self, words: &[AtomicU64], len: usize) {
        if self.current.is_empty()
            && let Some((next, rest)) = self.rest.split_first()
        {
            (self.current, self.rest) = (next, rest);
        }
        match self.current.split_at_checked(len) {
            Some((now, later)) => {
                store_whole(words, now);
                self.current = later;
            }
            None => self.gather(words, len),
        }
    }

    fn gather(&mut self, words: &[AtomicU64], len: usize) {
        let mut sink = Sink { words: words.iter(), begun: 0, begun_len: 0 };
        let mut left = len;
        while left > 0 {
            if self.current.is_empty() {
                let Some((next, rest)) = self.rest.split_first() else { break };
                (self.current, self.rest) = (next, rest);
            }
            let (now, later) = self.current.split_at(left.min(self.current.len()));
            sink.put(now);
            left -= now.len();
            self.current = later;
        }
        sink.finish();
    }
}

/// Stores bytes that lie together; the last word is filled up with zeros.
#[inline]
fn store_whole(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, tail) = bytes.as_chunks::<WORD>();
    for (bytes, word) in whole.iter().zip(words) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
    if let Some(word) = words.get(whole.len())
        && !tail.is_empty()
    {
        word.store(tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)), Ordering::Relaxed);
    }
}

/// Stores bytes that come in pieces.
struct Sink<'a> {
    words: std::slice::Iter<'a, AtomicU64>,
    begun: u64,
    begun_len: usize,
}

impl Sink<'_> {
    #[inline]
    fn put(&mut self, mut bytes: &[u8]) {
        // Complete the word that the part before began.
        while self.begun_len > 0
            && let Some((byte, rest)) = bytes.split_first()
        {
            self.push(*byte);
            bytes = rest;
        }
        let (whole, tail) = bytes.as_chunks::<WORD>();
        for (bytes, word) in whole.iter().zip(&mut self.words) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        for byte in tail {
            self.push(*byte);
        }
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        self.begun |= u64::from(byte) << (8 * self.begun_len);
        self.begun_len += 1;
        if self.begun_len == WORD {
            self.finish();
        }
    }

    #[inline]
    fn finish(&mut self) {
        if self.begun_len > 0
            && let Some(word) = self.words.next()
        {
            word.store(self.begun, Ordering::Relaxed);
        }
        (self.begun, self.begun_len) = (0, 0);
    }
}

/// Appends the first `len` bytes of `words` (which hold at least that many, rounded up to a word) to `out`.
#[inline]
pub(crate) fn load(words: &[AtomicU64], len: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + words.len() * WORD, 0);
    for (bytes, word) in out[start..].as_chunks_mut::<WORD>().0.iter_mut().zip(words) {
        *bytes = word.load(Ordering::Relaxed).to_le_bytes();
    }
    out.truncate(start + len);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn parts_of_any_length_are_gathered_in_order() {
        let bytes: Vec<u8> = (0..=255).collect();
        for cuts in [[0, 0, 0], [1, 2, 3], [8, 16, 24], [7, 8, 9], [0, 255, 256], [100, 101, 256]] {
            let [a, b, c] = cuts;
            let parts = [&bytes[..a], &bytes[a..b], &bytes[b..c], &bytes[c..]];
            let mut source = Source::new(&parts);
            let words: Vec<AtomicU64> = (0..32).map(|_| AtomicU64::new(u64::MAX)).collect();
            let mut out = Vec::new();
            for frag in [13, 64, 100, 79] {
                source.store(&words, frag);
                load(&words[..frag.div_ceil(WORD)], frag, &mut out);
            }
            assert_eq!(out, bytes, "cuts {cuts:?}");
        }
    }
}
