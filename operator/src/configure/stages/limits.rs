//! Resource limits: memory that may be locked (an AF_XDP socket locks its frames, an executor its rings) and open files (one a TCP connection).

use crate::configure::finding::{Item, State, Wanted};
use crate::configure::knob::Knob;
use crate::configure::plan::Plan;
use crate::configure::stage::Stage;
use crate::configure::stages::folders::GROUP;
use crate::configure::system::System;

/// Files that one engine may have open: an encoder is one, and the rest is far below this.
const OPEN_FILES: u64 = 65_536;
const FILE: &str = "/etc/security/limits.d/90-streams.conf";
/// Bit of CAP_IPC_LOCK in a capability mask: its holder may lock any amount.
const CAP_IPC_LOCK: u64 = 1 << 14;

/// See the module.
pub struct Limits;

impl Stage for Limits {
    fn name(&self) -> &'static str {
        "limits"
    }

    fn purpose(&self) -> &'static str {
        "memory that may be locked, files that may be open"
    }

    fn right(&self) -> &'static str {
        "root"
    }

    fn items(&self, system: &System, plan: &Plan) -> Vec<Item> {
        let shell = [memlock(system, plan), open_files(system)];
        let short = shell.iter().any(|item| item.state.is_open());
        let text = file_text(plan);
        let mut file = Item::of(
            system,
            "limits.d/90-streams.conf",
            Knob::Config { path: FILE.to_owned() },
            Wanted::Exactly(&text),
            &plan.command("init", "limits"),
        );
        file.wanted = "limits of root and group".to_owned();
        file.found = match file.state {
            State::Ok => "as wanted".to_owned(),
            State::Wrong => "other limits".to_owned(),
            _ => String::new(),
        };
        // With a file that is right, a new login has the limits; what this shell has is then only worth a hint.
        let file_is_right = file.state == State::Ok;
        let shell = shell.into_iter().map(|item| match (item.state.is_open(), file_is_right) {
            (true, true) => Item { action: "log in again: this shell is older than the file".into(), ..item }.as_hint(),
            (true, false) => {
                Item { action: "comes with limits.d/90-streams.conf and a new login".into(), ..item }.as_hint()
            }
            _ => item,
        });
        let mut items: Vec<Item> = shell.collect();
        if short || file_is_right {
            items.push(file);
        }
        items
    }
}

/// The lines that pam_limits reads at a login.
fn file_text(plan: &Plan) -> String {
    let memlock_kib = plan.huge_bytes() / 1024;
    let mut text = String::from("# Written by `streams configure init limits`; `fini` removes it.\n");
    for who in [format!("@{GROUP}"), "root".to_owned()] {
        for limit in [format!("memlock {memlock_kib}"), format!("nofile {OPEN_FILES}")] {
            text += &format!("{who} - {limit}\n");
        }
    }
    text
}

fn memlock(system: &System, plan: &Plan) -> Item {
    let name = "memlock of this shell";
    let wanted = plan.huge_bytes();
    let shown = format!(">= {} MiB", wanted >> 20);
    if plan.interface.is_err() {
        return Item::not_applicable(
            name,
            "on kernel sockets an engine locks 512 KiB a shard: the usual limits allow it",
        );
    }
    let may_all = system
        .labelled("/proc/self/status", "CapEff")
        .and_then(|mask| u64::from_str_radix(&mask, 16).ok())
        .is_some_and(|mask| mask & CAP_IPC_LOCK != 0);
    match soft_limit(system, "Max locked memory") {
        None => Item::plain(name, State::Unknown, "", shown, "/proc/self/limits cannot be read"),
        Some(limit) if limit >= wanted => Item::plain(name, State::Ok, bytes_text(limit), shown, ""),
        Some(limit) if may_all => {
            Item::plain(name, State::Ok, format!("{}, CAP_IPC_LOCK", bytes_text(limit)), shown, "")
        }
        Some(limit) => Item::plain(name, State::Wrong, bytes_text(limit), shown, ""),
    }
}

fn open_files(system: &System) -> Item {
    let name = "nofile of this shell";
    let shown = format!(">= {OPEN_FILES}");
    match soft_limit(system, "Max open files") {
        None => Item::plain(name, State::Unknown, "", shown, "/proc/self/limits cannot be read"),
        Some(limit) => {
            let state = if limit >= OPEN_FILES { State::Ok } else { State::Wrong };
            let found = if limit == u64::MAX { "unlimited".to_owned() } else { limit.to_string() };
            Item::plain(name, state, found, shown, "")
        }
    }
}

/// A soft limit of this process.
fn soft_limit(system: &System, label: &str) -> Option<u64> {
    let text = system.text("/proc/self/limits").ok()?;
    let words = text.lines().find_map(|line| line.strip_prefix(label))?;
    match words.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn bytes_text(bytes: u64) -> String {
    match bytes {
        u64::MAX => "unlimited".to_owned(),
        bytes if bytes < 1 << 20 => format!("{} KiB", bytes >> 10),
        bytes => format!("{} MiB", bytes >> 20),
    }
}
