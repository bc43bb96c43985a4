//! `streams tune …`

use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::Client;
use super::live::resource;
use super::output::{Output, field, table};
use crate::Error;

/// Shards take a live setting over within their housekeeping of 50 ms; this is what a loaded machine may need.
const LIVE_PATIENCE: Duration = Duration::from_secs(2);
/// How often is asked meanwhile.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Subcommand)]
pub enum Tune {
    /// Show settings: what each shard runs with, range, unit, meaning
    Get {
        /// One setting [default: all]
        key: Option<String>,
    },
    /// Change a setting; it is kept over restarts
    Set {
        /// What to set; KEY=default takes a setting back
        #[arg(value_name = "KEY=VALUE")]
        assignment: String,
        /// For one shard only; wins over what is set for all
        #[arg(long, value_name = "N")]
        shard: Option<u64>,
    },
}

pub async fn run(client: &Client, command: Tune, output: &Output) -> Result<(), Error> {
    match command {
        Tune::Get { key } => get(client, key.as_deref(), output).await,
        Tune::Set { assignment, shard } => set(client, &assignment, shard, output).await,
    }
}

async fn get(client: &Client, key: Option<&str>, output: &Output) -> Result<(), Error> {
    let tunables = match key {
        Some(key) => vec![one(client, key).await?],
        None => all(client).await?,
    };
    output.show(&json!({ "tunables": tunables }), || list(&tunables))
}

async fn set(client: &Client, assignment: &str, shard: Option<u64>, output: &Output) -> Result<(), Error> {
    let no_assignment =
        || Error::Usage(format!("`{assignment}` sets nothing; write KEY=VALUE, for example recv_batch=32"));
    let (key, value) = assignment.split_once('=').ok_or_else(no_assignment)?;
    let (key, value) = (key.trim(), value.trim());
    let body = json!({ "key": key, "value": value, "shard": shard });
    let mut tunable = resource(client.post("/v1/tunables", &body).await?);
    let deadline = tokio::time::Instant::now() + LIVE_PATIENCE;
    while !settled(&tunable, value, shard) && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
        tunable = one(client, key).await?;
    }
    output.show(&tunable, || {
        let note = match field(&tunable, "changes").as_str() {
            "live" if effective(&tunable).is_empty() => "No engine runs; the next one starts with it.\n",
            "live" => "",
            _ => "The engine takes it over when it starts the next time.\n",
        };
        format!("{}{note}", list(std::slice::from_ref(&tunable)))
    })
}

/// Whether there is nothing to wait for: every shard concerned runs with `value`, or none will before a restart.
fn settled(tunable: &Value, value: &str, shard: Option<u64>) -> bool {
    if field(tunable, "changes") != "live" {
        return true;
    }
    let effective = effective(tunable);
    let concerned = effective.iter().enumerate().filter(|(index, _)| match shard {
        Some(shard) => *index as u64 == shard,
        None => tunable.pointer(&format!("/set_by_shard/{index}")).is_none(),
    });
    let mut concerned = concerned.peekable();
    // What a setting goes back to is the engine's to know.
    concerned.peek().is_none() || (value != "default" && concerned.all(|(_, now)| now == value))
}

async fn all(client: &Client) -> Result<Vec<Value>, Error> {
    match resource(client.get("/v1/tunables").await?) {
        Value::Array(tunables) => Ok(tunables),
        _ => Ok(Vec::new()),
    }
}

async fn one(client: &Client, key: &str) -> Result<Value, Error> {
    let tunables = all(client).await?;
    let known = tunables.iter().map(|tunable| field(tunable, "key")).collect::<Vec<_>>().join(", ");
    let found = tunables.into_iter().find(|tunable| field(tunable, "key") == key);
    found.ok_or_else(|| Error::Usage(format!("there is no tunable `{key}`; the keys are {known}")))
}

/// What each shard runs with; empty without an engine.
fn effective(tunable: &Value) -> Vec<String> {
    let shards = tunable.get("effective").and_then(Value::as_array).into_iter().flatten();
    shards.map(plain).collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(word) => word.clone(),
        Value::Null => "?".to_owned(),
        other => other.to_string(),
    }
}

/// A row for each, its meaning below.
fn list(tunables: &[Value]) -> String {
    let rows: Vec<Vec<String>> = tunables.iter().map(row).collect();
    let text = table(&["KEY", "NOW", "SET", "CHANGES", "ALLOWED"], &rows);
    let mut lines = text.lines();
    let mut shown = format!("{}\n", lines.next().unwrap_or_default());
    for (line, tunable) in lines.zip(tunables) {
        shown.push_str(&format!("{line}\n    {}\n", field(tunable, "meaning")));
    }
    shown
}

fn row(tunable: &Value) -> Vec<String> {
    let effective = effective(tunable);
    let now = match effective.split_first() {
        None => "no engine".to_owned(),
        Some((first, rest)) if rest.iter().all(|other| other == first) => first.clone(),
        Some(_) => effective.join(", "),
    };
    let own = tunable.get("set_by_shard").and_then(Value::as_object).into_iter().flatten();
    let own = own.map(|(shard, value)| format!("shard {shard}: {}", plain(value)));
    let set: Vec<String> = std::iter::once(field(tunable, "set")).filter(|all| !all.is_empty()).chain(own).collect();
    let set = if set.is_empty() { "-".to_owned() } else { set.join(", ") };
    vec![field(tunable, "key"), now, set, field(tunable, "changes"), field(tunable, "allowed")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunable(effective: Value) -> Value {
        json!({ "key": "poll", "changes": "live", "meaning": "m", "allowed": "a or b", "set": "busy",
                "set_by_shard": { "1": "adaptive" }, "effective": effective })
    }

    #[test]
    fn a_setting_is_settled_when_the_shards_it_is_for_run_with_it() {
        let mixed = tunable(json!(["busy", "adaptive"]));
        assert!(settled(&mixed, "busy", None), "shard 1 has a setting of its own");
        assert!(!settled(&mixed, "busy", Some(1)) && settled(&mixed, "adaptive", Some(1)));
        assert!(!settled(&tunable(json!(["adaptive", "adaptive"])), "busy", None));
        assert!(settled(&tunable(json!([])), "busy", None), "no engine will take it over");
    }

    #[test]
    fn a_row_names_what_runs_and_what_was_set() {
        let text = list(&[tunable(json!(["busy", "adaptive"]))]);
        assert!(text.contains("busy, adaptive") && text.contains("busy, shard 1: adaptive"), "{text}");
        assert!(list(&[tunable(json!([]))]).contains("no engine"));
        assert_eq!(row(&tunable(json!(["busy", "busy"])))[1], "busy");
    }
}
