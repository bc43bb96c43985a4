//! What an operator changes with `streams tune`: keys, ranges, units, and the document of the table `tunables`.
//!
//! ```text
//! streams tune set -> control -> table `tunables` (workspace control)    entry 0: all shards, entry 1+i: shard i alone
//!                                       | read in a shard's housekeeping; a shard's own value wins over that of all
//!                                       v
//!                    counters `tunables.<i>` (workspace shards)          what shard i really runs with
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// When a new value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// Within one housekeeping of the shard, 50 ms.
    Live,
    /// When the engine starts the next time.
    Restart,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// A whole number from the first to the second.
    Range(u64, u64),
    /// A power of two from the first to the second.
    PowerOfTwo(u64, u64),
    /// One of these words; the value is its place.
    Words(&'static [&'static str]),
}

/// Why a key or a value is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TunableError {
    /// There is no such key.
    #[error("there is no tunable `{key}`; the keys are {known}")]
    UnknownKey {
        /// As given.
        key: String,
        /// Every key.
        known: String,
    },
    /// The value is not one that the key takes.
    #[error("{key} cannot be `{value}`; write {allowed}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// As given.
        value: String,
        /// What is accepted.
        allowed: String,
    },
}

macro_rules! tunables {
    ($($variant:ident, $name:literal, $applies:ident, $domain:expr, $unit:literal, $help:literal;)*) => {
        /// A setting of a shard; its discriminant is its index in `tunables.<i>`. Append only: an index never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Tunable {
            $(#[doc = $help] $variant,)*
        }

        impl Tunable {
            /// Every one, in index order.
            pub const ALL: &'static [Tunable] = &[$(Tunable::$variant),*];

            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Index in the counters `tunables.<i>`.
            pub const fn index(self) -> usize {
                self as usize
            }

            /// The key that an operator writes.
            pub const fn name(self) -> &'static str {
                match self { $(Tunable::$variant => $name,)* }
            }

            /// What the value counts; empty for words.
            pub const fn unit(self) -> &'static str {
                match self { $(Tunable::$variant => $unit,)* }
            }

            /// One sentence for people.
            pub const fn help(self) -> &'static str {
                match self { $(Tunable::$variant => $help,)* }
            }

            /// What the value may be.
            pub const fn domain(self) -> Domain {
                match self { $(Tunable::$variant => $domain,)* }
            }

            /// When a new value takes effect.
            pub const fn applies(self) -> Applies {
                match self { $(Tunable::$variant => Applies::$applies,)* }
            }
        }
    };
}

/// The words of `poll`.
const POLL_WORDS: &[&str] = &["adaptive", "busy"];

tunables! {
    RecvBatch, "recv_batch", Live, Domain::Range(1, 64), "datagrams",
        "Most datagrams taken from the packet backend with one call; a backend that takes fewer says so by the effective value.";
    RecvRounds, "recv_rounds", Live, Domain::Range(1, 64), "batches",
        "Most batches received in one turn before the rest of the shard's work.";
    SendRounds, "send_rounds", Live, Domain::Range(1, 64), "rounds",
        "Most rounds of sending in one turn, of 64 visits to connections each.";
    VisitPackets, "visit_packets", Live, Domain::Range(1, 1024), "packets",
        "Most packets that one connection sends before the next one has its turn.";
    Poll, "poll", Live, Domain::Words(POLL_WORDS), "",
        "adaptive sleeps when idle; busy gives the shard a whole core for the lowest latency.";
    SpinUs, "spin_us", Live, Domain::Range(0, 10_000), "microseconds",
        "How long an idle adaptive shard goes on looking before it sleeps.";
    NapUs, "nap_us", Live, Domain::Range(0, 10_000), "microseconds",
        "How long an adaptive shard that has just worked lets packets gather before it looks again; one that had nothing to do is woken by the first packet.";
    RetryHalfOpenMin, "retry_half_open_min", Live, Domain::Range(0, 100_000), "handshakes",
        "Half-open handshakes from which on a client must prove its address first (QUIC Retry); 0: always.";
    SessionsMax, "sessions_max", Live, Domain::Range(1, 1_000_000), "sessions",
        "Most connections and sessions a shard accepts; open ones stay.";
    DeliveryTimeoutMs, "delivery_timeout_ms", Live, Domain::Range(100, 60_000), "milliseconds",
        "A group that waited longer for a slow viewer is reset instead of sent.";
    CacheBytesMax, "cache_bytes_max", Live, Domain::Range(1 << 20, 64 << 30), "bytes",
        "Group cache of a shard over all tracks; old groups go first.";
    RxDepth, "rx_depth", Restart, Domain::PowerOfTwo(64, 65_536), "frags",
        "Datagrams that the receive link holds.";
    RxBytes, "rx_bytes", Restart, Domain::PowerOfTwo(1 << 20, 1 << 30), "bytes",
        "Payload ring of the receive link.";
    MediaDepth, "media_depth", Restart, Domain::PowerOfTwo(1_024, 65_536), "frags",
        "Frags that the media link to the other shards holds.";
    MediaBytes, "media_bytes", Restart, Domain::PowerOfTwo(16 << 20, 1 << 30), "bytes",
        "Payload ring of the media link to the other shards.";
    AskBytes, "ask_bytes", Restart, Domain::PowerOfTwo(8 << 20, 256 << 20), "bytes",
        "Payload ring of each link for questions, answers and replays to another shard.";
    XdpFillFrames, "xdp_fill_frames", Restart, Domain::PowerOfTwo(64, 65_536), "frames",
        "AF_XDP: frames of a queue that the kernel may receive into (fill ring). All xdp_ keys are 0 without AF_XDP.";
    XdpRxFrames, "xdp_rx_frames", Restart, Domain::PowerOfTwo(64, 65_536), "frames",
        "AF_XDP: received frames that may wait for the shard (rx ring).";
    XdpTxFrames, "xdp_tx_frames", Restart, Domain::PowerOfTwo(64, 65_536), "frames",
        "AF_XDP: frames that may wait to be sent (tx ring).";
    XdpCompletionFrames, "xdp_completion_frames", Restart, Domain::PowerOfTwo(64, 65_536), "frames",
        "AF_XDP: sent frames of a queue that may wait to be used again (completion ring).";
    XdpSendFrames, "xdp_send_frames", Restart, Domain::Range(64, 262_144), "frames",
        "AF_XDP: frames that the shard sends from.";
    XdpBusyPollUs, "xdp_busy_poll_us", Restart, Domain::Range(0, 10_000), "microseconds",
        "AF_XDP with poll=busy at the start: the shard drives the queue, not its interrupts; 0: interrupts do, or the kernel refused it.";
    XdpBusyPollBudget, "xdp_busy_poll_budget", Restart, Domain::Range(1, 64), "packets",
        "AF_XDP with poll=busy at the start: packets that the driver handles a call; 0: interrupts drive the queue.";
}

impl Tunable {
    /// The one with this key.
    ///
    /// # Errors
    /// `UnknownKey`, with every key.
    pub fn from_name(name: &str) -> Result<Self, TunableError> {
        let known = || Self::ALL.iter().map(|tunable| tunable.name()).collect::<Vec<_>>().join(", ");
        let found = Self::ALL.iter().copied().find(|tunable| tunable.name() == name);
        found.ok_or_else(|| TunableError::UnknownKey { key: name.to_owned(), known: known() })
    }

    /// A value as written by an operator.
    ///
    /// # Errors
    /// `BadValue`, with what is accepted.
    pub fn parse(self, text: &str) -> Result<u64, TunableError> {
        let value = match self.domain() {
            Domain::Words(words) => words.iter().position(|word| *word == text).map(|place| place as u64),
            Domain::Range(..) | Domain::PowerOfTwo(..) => text.parse().ok(),
        };
        let bad = || TunableError::BadValue { key: self.name(), value: text.to_owned(), allowed: self.allowed() };
        value.filter(|value| self.takes(*value)).ok_or_else(bad)
    }

    /// A value as an operator writes it.
    pub fn show(self, value: u64) -> String {
        let word = match self.domain() {
            Domain::Words(words) => usize::try_from(value).ok().and_then(|place| words.get(place)),
            Domain::Range(..) | Domain::PowerOfTwo(..) => None,
        };
        word.map_or_else(|| value.to_string(), |word| (*word).to_owned())
    }

    /// Whether it may have this value.
    pub fn takes(self, value: u64) -> bool {
        match self.domain() {
            Domain::Range(min, max) => (min..=max).contains(&value),
            Domain::PowerOfTwo(min, max) => (min..=max).contains(&value) && value.is_power_of_two(),
            Domain::Words(words) => value < words.len() as u64,
        }
    }

    /// What it takes, for people.
    pub fn allowed(self) -> String {
        match self.domain() {
            Domain::Range(min, max) => format!("a whole number from {min} to {max} ({})", self.unit()),
            Domain::PowerOfTwo(min, max) => format!("a power of two from {min} to {max} ({})", self.unit()),
            Domain::Words(words) => words.join(" or "),
        }
    }
}

/// Wishes for all shards or for one, an entry of the table `tunables`. A key that is absent is left to the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tunables {
    /// By key. Words are their place in [`Domain::Words`].
    pub values: BTreeMap<String, u64>,
}

impl Tunables {
    /// The wish for a key. One out of range is none: whoever wrote it had other ranges.
    pub fn get(&self, tunable: Tunable) -> Option<u64> {
        self.values.get(tunable.name()).copied().filter(|value| tunable.takes(*value))
    }

    /// Sets or, with `None`, takes a wish back.
    pub fn set(&mut self, tunable: Tunable, value: Option<u64>) {
        match value {
            Some(value) => self.values.insert(tunable.name().to_owned(), value),
            None => self.values.remove(tunable.name()),
        };
    }
}

/// A value of every tunable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunableValues([u64; Tunable::COUNT]);

impl TunableValues {
    /// Each from `value`.
    pub fn from_fn(value: impl Fn(Tunable) -> u64) -> Self {
        let mut values = [0; Tunable::COUNT];
        for (slot, tunable) in values.iter_mut().zip(Tunable::ALL) {
            *slot = value(*tunable);
        }
        Self(values)
    }

    /// The value of one.
    pub fn get(&self, tunable: Tunable) -> u64 {
        self.0.get(tunable.index()).copied().unwrap_or_default()
    }

    /// Replaces one.
    pub fn set(&mut self, tunable: Tunable, value: u64) {
        if let Some(slot) = self.0.get_mut(tunable.index()) {
            *slot = value;
        }
    }

    /// These with the wishes on top: those for the shard alone win over those for all.
    pub fn with(&self, all: &Tunables, own: &Tunables) -> Self {
        Self::from_fn(|tunable| own.get(tunable).or_else(|| all.get(tunable)).unwrap_or_else(|| self.get(tunable)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_shown_and_ranges_hold() {
        for tunable in Tunable::ALL {
            let (low, high, outside) = match tunable.domain() {
                Domain::Range(low, high) => (low, high, high + 1),
                Domain::PowerOfTwo(low, high) => (low, high, low + 1),
                Domain::Words(words) => (0, words.len() as u64 - 1, words.len() as u64),
            };
            for value in [low, high] {
                assert_eq!(tunable.parse(&tunable.show(value)), Ok(value), "{}", tunable.name());
            }
            let error = tunable.parse(&outside.to_string()).expect_err("outside").to_string();
            assert!(error.contains(tunable.name()) && error.contains(&tunable.allowed()), "{error}");
            assert!(!tunable.takes(outside));
            assert_eq!(Tunable::from_name(tunable.name()), Ok(*tunable));
        }
        for wrong in ["", "-1", "1.5", "99999999999999999999", "eight"] {
            assert!(Tunable::RecvBatch.parse(wrong).is_err(), "{wrong}");
        }
        assert!(Tunable::from_name("recv_bach").expect_err("unknown").to_string().contains("recv_batch"));
    }

    #[test]
    fn a_shard_s_own_wish_wins_and_one_out_of_range_is_none() {
        let (mut all, mut own) = (Tunables::default(), Tunables::default());
        let base = TunableValues::from_fn(|_| 7);
        all.set(Tunable::RecvBatch, Some(8));
        all.set(Tunable::SpinUs, Some(0));
        own.set(Tunable::RecvBatch, Some(9));
        own.values.insert("spin_us".into(), 1 << 40);
        own.values.insert("of_a_newer_build".into(), 3);
        let seen = base.with(&all, &own);
        assert_eq!([Tunable::RecvBatch, Tunable::SpinUs, Tunable::SendRounds].map(|key| seen.get(key)), [9, 0, 7]);
        own.set(Tunable::RecvBatch, None);
        assert_eq!(base.with(&all, &own).get(Tunable::RecvBatch), 8);
    }
}
