//! Settings of the shards as the API tells them (`GET /v1/tunables`): whether they are in effect, and a table of them.

use serde_json::Value;

use crate::text::{field, table};

/// Whether there is nothing to wait for: every shard concerned runs with `value`, or none will before a restart.
pub fn settled(tunable: &Value, value: &str, shard: Option<u64>) -> bool {
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

/// What each shard runs with; empty without an engine.
pub fn effective(tunable: &Value) -> Vec<String> {
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
pub fn list(tunables: &[Value]) -> String {
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
    use serde_json::json;

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
