//! Live inputs and their stream keys.

use serde_json::{Map, Value};
use streams_contract::{Command, InputState, RuntimeEntry};

use super::{Answered, Plan, Refusal, Resources, Turn};
use crate::ids::{self, STREAM_KEY_PREFIX};
use crate::program::KEYS_OF_INPUT_MAX;
use crate::store::{Change, LiveInput, Page, StreamKey};
use crate::{Error, clock};

/// Kinds of ingest an input can be made for.
pub(super) const INGEST_KINDS: [&str; 5] = ["rtmp", "srt", "whip", "fmp4", "any"];
/// Longest name, in characters.
pub(super) const NAME_LEN_MAX: usize = 200;
/// Longest `meta`, in bytes of JSON.
pub(super) const META_LEN_MAX: usize = 4096;
/// Longest reconnect window, in seconds.
pub(super) const RECONNECT_WINDOW_S_MAX: u32 = 3600;
/// Longest grace of an old key, in seconds: a week.
pub(super) const GRACE_S_MAX: u64 = 7 * 24 * 3600;

/// What a caller wants an input to be. A field that is absent stays as it is, or is as usual.
#[derive(Debug, Default)]
pub struct Fields {
    /// For people.
    pub name: Option<String>,
    /// `rtmp`, `srt`, `whip`, `fmp4` or `any`.
    pub ingest: Option<String>,
    /// Seconds that viewers are kept after the encoder is gone.
    pub reconnect_window_s: Option<u32>,
    /// The customer's own object.
    pub meta: Option<Map<String, Value>>,
    /// Not offered yet.
    pub record: Option<bool>,
    /// Not offered yet.
    pub ladder: Option<Value>,
    /// Not offered yet.
    pub dvr_window_s: Option<u64>,
}

/// Fields that passed every rule.
#[derive(Debug)]
pub struct Settings {
    name: Option<String>,
    ingest: Option<String>,
    reconnect_window_s: Option<u32>,
    meta: Option<String>,
}

impl Settings {
    /// Checks what a caller wants.
    pub fn new(fields: Fields) -> Result<Self, Refusal> {
        let Fields { name, ingest, reconnect_window_s, meta, record, ladder, dvr_window_s } = fields;
        checked_off(record, ladder.as_ref(), dvr_window_s)?;
        Ok(Self {
            name: name.as_deref().map(checked_name).transpose()?,
            ingest: ingest.map(checked_ingest).transpose()?,
            reconnect_window_s: reconnect_window_s.map(checked_window).transpose()?,
            meta: meta.map(checked_meta).transpose()?,
        })
    }

    fn put_into(self, input: &mut LiveInput) {
        let LiveInput { name, ingest, reconnect_window_s, meta, .. } = input;
        *name = self.name.unwrap_or_else(|| std::mem::take(name));
        *ingest = self.ingest.unwrap_or_else(|| std::mem::take(ingest));
        *reconnect_window_s = self.reconnect_window_s.unwrap_or(*reconnect_window_s);
        *meta = self.meta.unwrap_or_else(|| std::mem::take(meta));
    }
}

fn checked_name(name: &str) -> Result<String, Refusal> {
    let name = name.trim();
    if !(1..=NAME_LEN_MAX).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(Refusal::Name);
    }
    Ok(name.to_owned())
}

fn checked_ingest(kind: String) -> Result<String, Refusal> {
    match kind.as_str() {
        offered if INGEST_KINDS.contains(&offered) => Ok(kind),
        _ => Err(Refusal::Ingest(kind)),
    }
}

fn checked_window(window_s: u32) -> Result<u32, Refusal> {
    if window_s > RECONNECT_WINDOW_S_MAX { Err(Refusal::ReconnectWindow(window_s)) } else { Ok(window_s) }
}

fn checked_meta(meta: Map<String, Value>) -> Result<String, Refusal> {
    let meta = Value::Object(meta).to_string();
    if meta.len() > META_LEN_MAX { Err(Refusal::Meta(meta.len())) } else { Ok(meta) }
}

/// Fields of the contract behind which there is nothing yet: whoever sends them switched off gets what was asked for.
fn checked_off(record: Option<bool>, ladder: Option<&Value>, dvr_window_s: Option<u64>) -> Result<(), Refusal> {
    let refused = |what: String, off| Err(Refusal::NotOffered { what, off });
    if record == Some(true) {
        return refused("record is true".to_owned(), "false");
    }
    if let Some(ladder) = ladder.filter(|ladder| !is_empty(ladder)) {
        return refused(format!("ladder is {ladder}"), "null");
    }
    match dvr_window_s {
        None | Some(0) => Ok(()),
        Some(window_s) => refused(format!("dvr_window_s is {window_s}"), "0"),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(steps) => steps.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// What an input is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// No encoder.
    Idle,
    /// On air.
    Active,
    /// Its encoder is gone, its viewers are kept.
    Reconnecting,
    /// No encoder may publish.
    Disabled,
}

impl Status {
    /// As callers see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Reconnecting => "reconnecting",
            Self::Disabled => "disabled",
        }
    }
}

/// A live input as it is now.
#[derive(Debug)]
pub struct Live {
    /// As its owner made it.
    pub input: LiveInput,
    /// What it is doing.
    pub status: Status,
    /// As its home shard sees it; `None` without an encoder or a living engine.
    pub runtime: Option<RuntimeEntry>,
    /// Last refusal or fault, for people.
    pub last_error: Option<String>,
}

/// A new input, with the secrets that are told once.
pub struct Created {
    /// The input.
    pub live: Live,
    /// Its stream key.
    pub stream_key: String,
    /// Its passphrase for SRT.
    pub srt_passphrase: String,
}

/// An input with a new stream key, which is told once.
pub struct Rotated {
    /// The input.
    pub live: Live,
    /// Its stream key.
    pub stream_key: String,
}

impl Resources {
    /// Makes a live input.
    pub async fn create_live_input<T>(
        &self,
        org: &str,
        settings: Settings,
        answer: impl FnOnce(&Created) -> Answered<T>,
    ) -> Result<T, Error> {
        let (now_ms, id) = (clock::unix_ms(), ids::new_id("lv"));
        let (stream_key, key) = new_stream_key(now_ms)?;
        let srt_passphrase = ids::new_secret("")?;
        let mut input = LiveInput {
            srt_passphrase_sealed: self.vault.seal(&id, srt_passphrase.as_bytes())?,
            id,
            org: org.to_owned(),
            name: String::new(),
            ingest: "any".to_owned(),
            enabled: true,
            reconnect_window_s: self.reconnect_window_s,
            meta: "{}".to_owned(),
            created_at: now_ms,
            updated_at: now_ms,
            keys: vec![key],
        };
        settings.put_into(&mut input);
        let before = Change::DeleteLiveInput { org: input.org.clone(), id: input.id.clone() };
        let created = Created { live: self.live(input), stream_key, srt_passphrase };
        let (told, receipt) = answer(&created)?;
        let change = Change::PutLiveInput(created.live.input);
        let mut turn = self.turn().await?;
        self.make(&mut turn, Plan { change, before, receipt, command: None }).await?;
        Ok(told)
    }

    /// A page of an organisation's live inputs.
    pub async fn live_inputs(&self, org: &str, page: Page<'_>) -> Result<Vec<Live>, Error> {
        let inputs = self.store.live_inputs(org, page).await?;
        Ok(inputs.into_iter().map(|input| self.live(input)).collect())
    }

    /// An organisation's live input.
    pub async fn live_input(&self, org: &str, id: &str) -> Result<Live, Error> {
        Ok(self.live(self.find_input(org, id).await?.ok_or_else(|| unknown(id))?))
    }

    /// Changes the fields that are set.
    pub async fn update_live_input(&self, org: &str, id: &str, settings: Settings) -> Result<Live, Error> {
        let mut turn = self.turn().await?;
        self.alter(&mut turn, org, id, None, |input| settings.put_into(input)).await
    }

    /// Removes an input and its keys; its encoder is cut.
    pub async fn delete_live_input(&self, org: &str, id: &str) -> Result<(), Error> {
        let mut turn = self.turn().await?;
        let change = Change::DeleteLiveInput { org: org.to_owned(), id: id.to_owned() };
        let before = match self.find_input(org, id).await? {
            Some(input) => Change::PutLiveInput(input),
            // What somebody else took out of the database may still stand in the tables.
            None if self.program.has_input(org, id) => change.clone(),
            None => return Err(unknown(id).into()),
        };
        let command = Some(cut(id, "the input was deleted"));
        self.make(&mut turn, Plan { change, before, receipt: None, command }).await
    }

    /// Lets encoders publish, or cuts the one that does and refuses all others.
    pub async fn enable_live_input(&self, org: &str, id: &str, enabled: bool) -> Result<Live, Error> {
        let mut turn = self.turn().await?;
        let command = (!enabled).then(|| cut(id, "the input was disabled"));
        self.alter(&mut turn, org, id, command, |input| input.enabled = enabled).await
    }

    /// Cuts the encoder; it may come back with the same key.
    pub async fn disconnect_live_input(&self, org: &str, id: &str) -> Result<Live, Error> {
        let live = self.live_input(org, id).await?;
        self.program.send(&cut(id, "disconnected by the operator"))?;
        Ok(live)
    }

    /// Checks a grace before anything is kept of the request.
    pub fn check_grace(grace_s: u64) -> Result<(), Refusal> {
        if grace_s > GRACE_S_MAX { Err(Refusal::Grace(grace_s)) } else { Ok(()) }
    }

    /// Gives an input a new stream key. The others end after the grace; without one the encoder on them is cut.
    pub async fn rotate_stream_key<T>(
        &self,
        org: &str,
        id: &str,
        grace_s: u64,
        answer: impl FnOnce(&Rotated) -> Answered<T>,
    ) -> Result<T, Error> {
        Self::check_grace(grace_s)?;
        let mut turn = self.turn().await?;
        let before = self.find_input(org, id).await?.ok_or_else(|| unknown(id))?;
        let now_ms = clock::unix_ms();
        let in_force = before.keys.iter().filter(|key| key.expires_at.is_none_or(|end| end > now_ms)).count();
        if grace_s > 0 && in_force >= KEYS_OF_INPUT_MAX {
            return Err(Refusal::KeysInForce(in_force).into());
        }
        let (stream_key, key) = new_stream_key(now_ms)?;
        let end_ms = now_ms.saturating_add(i64::try_from(grace_s * 1000).unwrap_or(i64::MAX));
        let others = before.keys.iter().cloned().map(|other| StreamKey {
            expires_at: Some(other.expires_at.map_or(end_ms, |end| end.min(end_ms))),
            ..other
        });
        let keys = std::iter::once(key).chain(others.filter(|other| other.expires_at > Some(now_ms))).collect();
        let rotated = Rotated { live: self.live(LiveInput { keys, updated_at: now_ms, ..before.clone() }), stream_key };
        let (told, receipt) = answer(&rotated)?;
        let plan = Plan {
            change: Change::PutLiveInput(rotated.live.input),
            before: Change::PutLiveInput(before),
            receipt,
            command: (grace_s == 0).then(|| cut(id, "the stream key was rotated")),
        };
        self.make(&mut turn, plan).await?;
        Ok(told)
    }

    /// Changes an input that is there.
    async fn alter(
        &self,
        turn: &mut Turn<'_>,
        org: &str,
        id: &str,
        command: Option<Command>,
        change: impl FnOnce(&mut LiveInput),
    ) -> Result<Live, Error> {
        let before = self.find_input(org, id).await?.ok_or_else(|| unknown(id))?;
        let mut input = before.clone();
        change(&mut input);
        input.updated_at = clock::unix_ms();
        let (change, before) = (Change::PutLiveInput(input.clone()), Change::PutLiveInput(before));
        self.make(turn, Plan { change, before, receipt: None, command }).await?;
        Ok(self.live(input))
    }

    async fn find_input(&self, org: &str, id: &str) -> Result<Option<LiveInput>, Error> {
        if ids::is_id("lv", id) { self.store.live_input(org, id).await } else { Ok(None) }
    }

    fn live(&self, input: LiveInput) -> Live {
        let runtime = self.program.runtime(&input.id);
        let status = match &runtime {
            _ if !input.enabled => Status::Disabled,
            Some(runtime) if runtime.state == InputState::Active => Status::Active,
            Some(runtime) if runtime.state == InputState::Reconnecting => Status::Reconnecting,
            _ => Status::Idle,
        };
        let fault = runtime.as_ref().and_then(|runtime| runtime.last_error.clone());
        let last_error = self.program.last_refusal(&input.id).or(fault);
        Live { input, status, runtime, last_error }
    }
}

fn unknown(id: &str) -> Refusal {
    Refusal::Unknown { kind: "live input", id: id.to_owned() }
}

fn cut(id: &str, reason: &str) -> Command {
    Command::DisconnectInput { input: id.to_owned(), reason: reason.to_owned() }
}

fn new_stream_key(now_ms: i64) -> Result<(String, StreamKey), Error> {
    let secret = ids::new_secret(STREAM_KEY_PREFIX)?;
    let key = StreamKey { sha256: ids::sha256_hex(secret.as_bytes()), created_at: now_ms, expires_at: None };
    Ok((secret, key))
}
