//! `GET /v1/tunables` and `POST /v1/tunables`: what the shards run with, and changing it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use streams_contract::{Applies, Domain, Tunable};

use super::extract::{Strict, data};
use super::{App, Caller, Problem};
use crate::program::Tuned;
use crate::resources::DEFAULT;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    key: String,
    /// A number or a word; `"default"` or null takes the setting back.
    value: Value,
    /// One shard; absent: all.
    shard: Option<u64>,
}

pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Response, Problem> {
    caller.needs("admin")?;
    let tuned = app.resources.tuned();
    Ok(data(200, &Tunable::ALL.iter().map(|tunable| describe(*tunable, &tuned)).collect::<Vec<_>>()))
}

pub async fn set(State(app): State<Arc<App>>, caller: Caller, body: Strict<Set>) -> Result<Response, Problem> {
    caller.needs("admin")?;
    let Set { key, value, shard } = body.value;
    let text = match value {
        Value::Null => DEFAULT.to_owned(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    let tunable = app.resources.set_tunable(&key, &text, shard).await?;
    Ok(data(200, &describe(tunable, &app.resources.tuned())))
}

/// One tunable as the API shows it.
fn describe(tunable: Tunable, tuned: &Tuned) -> Value {
    let show = |value: u64| match tunable.domain() {
        Domain::Words(_) => Value::from(tunable.show(value)),
        Domain::Range(..) | Domain::PowerOfTwo(..) => Value::from(value),
    };
    let own = tuned.shards.iter().enumerate();
    let own = own.filter_map(|(shard, wishes)| Some((shard.to_string(), show(wishes.get(tunable)?))));
    let (min, max, choices) = match tunable.domain() {
        Domain::Range(min, max) | Domain::PowerOfTwo(min, max) => (Some(min), Some(max), None),
        Domain::Words(words) => (None, None, Some(words)),
    };
    json!({
        "key": tunable.name(),
        "unit": tunable.unit(),
        "meaning": tunable.help(),
        "allowed": tunable.allowed(),
        "min": min,
        "max": max,
        "choices": choices,
        "changes": match tunable.applies() {
            Applies::Live => "live",
            Applies::Restart => "on restart",
        },
        "set": tuned.all.get(tunable).map(show),
        "set_by_shard": own.collect::<serde_json::Map<_, _>>(),
        "effective": tuned.effective.iter().map(|shard| shard.map(|values| show(values.get(tunable)))).collect::<Vec<_>>(),
    })
}
