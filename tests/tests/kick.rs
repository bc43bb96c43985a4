//! `streams kick`: one session ends, and nobody else notices.

use std::process::Command;

use streams_relay_core::client::ClientEvent;
use streams_tests::{Encoder, Film, Options, Stack, Watcher, eventually, eventually_some};

/// The number of the session that was opened last, when there were so many.
fn newest_session(stack: &Stack, opened: usize) -> String {
    eventually_some("control logs the session", || {
        let log = std::fs::read_to_string(stack.data.join("log/control.log")).ok()?;
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("session opened")).collect();
        let newest = lines.last().filter(|_| lines.len() == opened)?;
        newest.split_whitespace().find_map(|word| word.strip_prefix("session=")).map(str::to_owned)
    })
}

#[test]
fn a_kicked_viewer_is_told_and_the_others_stay() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("kicked");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let mut stays = Watcher::start(&stack, &input);
    stays.objects(25);
    newest_session(&stack, 1);
    let mut kicked = Watcher::start(&stack, &input);
    kicked.objects(25);
    let session = newest_session(&stack, 2);

    assert_eq!(stack.json(&["kick", &session])["session"], session.as_str());
    let reason = kicked.moqt.wait("the relay closes the session", |event| match event {
        ClientEvent::Closed { code, reason } => Some((*code, reason.clone())),
        _ => None,
    });
    assert_eq!(reason, (0, "closed by the operator".to_owned()));
    stays.objects(50);
    stays.nothing_missing();

    // A number that was never given, of a shard that is there: nobody is hit. Of one that is not: a mistake.
    assert!(stack.cli(&["kick", "12345678"]).status.success());
    let wrong = stack.cli(&["kick", &u64::MAX.to_string()]);
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("no session"));
    assert!(!stack.cli(&["kick", "somebody"]).status.success());
    stays.objects(25);
    assert_eq!(stack.metric("streams_engine_sessions_open"), 1.0);
}

/// A second organisation with an API key of its own: nothing but the database makes one yet.
fn another_organisation(stack: &Stack) -> &'static str {
    const KEY: &str = "ak_of_another_organisation";
    let script = "import hashlib, sqlite3, sys\n\
                  db = sqlite3.connect(sys.argv[1])\n\
                  key = hashlib.sha256(sys.argv[2].encode()).hexdigest()\n\
                  db.execute(\"INSERT INTO orgs (id, created_at) VALUES ('org_other', 0)\")\n\
                  db.execute(\"INSERT INTO api_keys (id, org, sha256, scopes, created_at) \
                  VALUES ('apikey_other', 'org_other', ?, 'admin', 0)\", (key,))\n\
                  db.commit()\n";
    let mut python = Command::new("python3");
    let made = python.args(["-c", script]).arg(stack.data.join("streams.db")).arg(KEY).output().expect("python3 runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    KEY
}

#[test]
fn an_operator_of_another_organisation_closes_no_session() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("ours");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let mut viewer = Watcher::start(&stack, &input);
    viewer.objects(25);
    let session = newest_session(&stack, 1);
    let key = another_organisation(&stack);
    assert!(stack.cli(&["kick", &session, "--api-key", key]).status.success(), "it is not told whose session it is");
    eventually("the shard refuses", || {
        let log = std::fs::read_to_string(stack.data.join("log/engine.log")).expect("a log");
        log.contains("a session of another organisation is not closed")
    });
    viewer.objects(50);
    viewer.nothing_missing();
    assert!(stack.cli(&["kick", &session]).status.success());
    viewer.moqt.wait("its own operator closes it", |event| matches!(event, ClientEvent::Closed { .. }).then_some(()));
}
