//! A FETCH of ours to a publisher or to the shard that has it, on behalf of one reader's FETCH.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::relay::keys::{PullKey, RequestKey, SessionKey, ShardFetchKey};
use crate::relay::slab::Slab;
use crate::wire::{FetchObjectHead, FetchReader, GroupOrder, Location, MissingRange};

/// What came back, in order.
#[derive(Debug)]
pub(crate) enum PulledItem {
    Object(FetchObjectHead, Bytes),
    Missing(MissingRange, Location),
    /// The stream ended well.
    End,
    /// The stream was reset with this code.
    Reset(u64),
}

/// Who asked for the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reader {
    /// A viewer here: session and its request.
    Session(SessionKey, RequestKey),
    /// A viewer on another shard: the key of what is kept of its FETCH.
    Shard(ShardFetchKey),
}

/// Who has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A publisher here: session and our request there.
    Session(SessionKey, RequestKey),
    /// Another shard, and what the FETCH is called between the two.
    Shard(usize, u64),
}

/// Objects on their way from a fetch stream to that of a reader.
#[derive(Debug)]
pub(crate) struct Pull {
    pub(crate) source: Source,
    pub(crate) reader: Reader,
    pub(crate) order: GroupOrder,
    /// Reads the bytes that another shard sends.
    pub(crate) bytes: Option<FetchReader>,
    items: VecDeque<PulledItem>,
    len: usize,
    /// The part of the sums of [`Pulls`] that is this one's.
    counted: usize,
    ended: bool,
}

impl Pull {
    pub(crate) fn new(source: Source, reader: Reader, order: GroupOrder) -> Self {
        Self { source, reader, order, bytes: None, items: VecDeque::new(), len: 0, counted: 0, ended: false }
    }

    pub(crate) fn with_reader(self, bytes: FetchReader) -> Self {
        Self { bytes: Some(bytes), ..self }
    }

    /// Adds what came; nothing counts after the end.
    pub(crate) fn push(&mut self, item: PulledItem) {
        if self.ended {
            return;
        }
        self.ended = matches!(item, PulledItem::End | PulledItem::Reset(_));
        self.len += item_len(&item);
        self.items.push_back(item);
    }

    pub(crate) fn next(&mut self) -> Option<PulledItem> {
        let item = self.items.pop_front()?;
        self.len = self.len.saturating_sub(item_len(&item));
        Some(item)
    }

    /// Nothing to hand over right now.
    pub(crate) fn is_idle(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }
}

/// All pulls of a shard, and what waits in them.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    slab: Slab<PullKey, Pull>,
    len: usize,
    by_reader: HashMap<Account, usize>,
    next_id: u64,
}

impl Pulls {
    pub(crate) fn insert(&mut self, pull: Pull) -> PullKey {
        self.slab.insert(pull)
    }

    /// A name for a FETCH to another shard, new each time.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn by_source(&self, source: Source) -> Option<PullKey> {
        self.slab.iter().find(|(_, pull)| pull.source == source).map(|(key, _)| key)
    }

    /// FETCHes that another shard has not answered to the end.
    pub(crate) fn waiting_for(&self, shard: usize) -> usize {
        let waits = |pull: &Pull| !pull.ended && matches!(pull.source, Source::Shard(from, _) if from == shard);
        self.slab.iter().filter(|(_, pull)| waits(pull)).count()
    }

    pub(crate) fn get(&self, key: PullKey) -> Option<&Pull> {
        self.slab.get(key)
    }

    /// After a change of what waits in it, [`Pulls::count`] has to follow.
    pub(crate) fn get_mut(&mut self, key: PullKey) -> Option<&mut Pull> {
        self.slab.get_mut(key)
    }

    pub(crate) fn remove(&mut self, key: PullKey) -> Option<Pull> {
        let pull = self.slab.remove(key)?;
        self.add(pull.reader.account(), pull.counted, 0);
        Some(pull)
    }

    /// Brings the sums up to date with one pull.
    pub(crate) fn count(&mut self, key: PullKey) {
        let Some(pull) = self.slab.get_mut(key) else { return };
        let (account, len) = (pull.reader.account(), pull.len);
        let before = std::mem::replace(&mut pull.counted, len);
        self.add(account, before, len);
    }

    fn add(&mut self, account: Account, before: usize, len: usize) {
        self.len = self.len.saturating_sub(before).saturating_add(len);
        let of_account = self.by_reader.entry(account).or_default();
        *of_account = of_account.saturating_sub(before).saturating_add(len);
        if *of_account == 0 {
            self.by_reader.remove(&account);
        }
    }

    /// Bytes that wait in all of them.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that wait for a session.
    pub(crate) fn len_of_session(&self, session: SessionKey) -> usize {
        self.by_reader.get(&Account::Session(session)).copied().unwrap_or_default()
    }

    /// Bytes that wait for the reader's session.
    pub(crate) fn len_of(&self, reader: Reader) -> usize {
        self.by_reader.get(&reader.account()).copied().unwrap_or_default()
    }
}

/// Whose bytes are summed up together: all of a session, or one FETCH of another shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Account {
    Session(SessionKey),
    ShardFetch(ShardFetchKey),
}

impl Reader {
    fn account(self) -> Account {
        match self {
            Self::Session(session, _) => Account::Session(session),
            Self::Shard(fetch) => Account::ShardFetch(fetch),
        }
    }
}

fn item_len(item: &PulledItem) -> usize {
    // An item costs memory even when its payload is empty.
    const ITEM_LEN: usize = std::mem::size_of::<PulledItem>();
    match item {
        PulledItem::Object(head, payload) => ITEM_LEN + head.properties.len() + payload.len(),
        _ => ITEM_LEN,
    }
}
