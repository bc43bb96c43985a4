//! House rules that a machine can check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use streams_tests::repo;

/// Lines that a source file may have before it is two concepts.
const LINES_MAX: usize = 500;
/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 70;
/// Longer functions: one `match` with an arm a message, which is read as a table.
const TABLES: [&str; 1] = ["relay-core/src/wire/control.rs: decode_fields"];

/// The crates, ground floor first: a crate may use those before it, and no other.
const FLOORS: [&str; 18] = [
    "streams-rings",
    "streams-contract",
    "streams-config",
    "streams-logs",
    "streams-privileges",
    "streams-media",
    "streams-relay-core",
    "streams-xdp-prog",
    "streams-ingest",
    "streams-sdk",
    "streams-engine",
    "streams-control",
    "streams-operator",
    "streams-cli",
    "streams-harness",
    "streams-bench",
    "streams-tests",
    "streams-fuzz",
];

/// Words that may stand in front of `fn`.
const HEADS: [&str; 5] = ["const", "async", "unsafe", "extern", "\"C\""];

/// Files of a folder, besides the one that opens it.
const FILES_MAX: usize = 12;
/// Folders that keep to [`FILES_MAX`], with all below them.
const SMALL_FOLDERS: [&str; 4] = ["control/src", "operator/src", "cli/src", "harness/src"];

fn tracked(extensions: &[&str]) -> Vec<PathBuf> {
    let output = Command::new("git").arg("-C").arg(repo()).args(["ls-files", "-z"]).output().expect("git is installed");
    let names = String::from_utf8(output.stdout).expect("UTF-8 names");
    let files = names.split('\0').filter(|name| !name.is_empty()).map(|name| repo().join(name));
    files.filter(|file| file.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e))).collect()
}

fn offenders(extensions: &[&str], broken: impl Fn(&Path, &str) -> Option<String>) -> Vec<String> {
    let files = tracked(extensions);
    assert!(!files.is_empty(), "no files found");
    files
        .iter()
        .filter_map(|file| {
            let text = std::fs::read_to_string(file).ok()?;
            broken(file, &text).map(|what| format!("{}: {what}", file.display()))
        })
        .collect()
}

#[test]
fn every_source_file_is_one_concept_long() {
    let long = offenders(&["rs", "ts", "mjs"], |_, text| {
        let lines = text.lines().count();
        (lines > LINES_MAX).then(|| format!("{lines} lines"))
    });
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn every_function_fits_a_screen() {
    let long = offenders(&["rs"], |file, text| {
        let file = file.strip_prefix(repo()).ok()?.display().to_string();
        let lines: Vec<&str> = text.lines().collect();
        let functions = lines.iter().enumerate().filter_map(|(at, line)| {
            let indent = line.len() - line.trim_start().len();
            let (before, after) = line.split_once("fn ")?;
            let is_head = before.split_whitespace().all(|word| word.starts_with("pub") || HEADS.contains(&word));
            let name = after.split(['(', '<']).next().filter(|_| is_head && !line.ends_with(';'))?;
            let end = format!("{}}}", " ".repeat(indent));
            let len = lines.iter().skip(at).position(|line| **line == *end)? + 1;
            (len > FUNCTION_LINES_MAX && !TABLES.contains(&format!("{file}: {name}").as_str()))
                .then(|| format!("{name} has {len} lines"))
        });
        functions.reduce(|all, one| format!("{all}, {one}"))
    });
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn nothing_is_left_undone_in_the_source() {
    // Put together here so that this file does not find itself.
    let marks =
        [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["todo", "!("].concat(), ["unimplemented", "!("].concat()];
    let marked = offenders(&["rs", "ts", "mjs", "sql"], |_, text| {
        let line = text.lines().position(|line| marks.iter().any(|mark| line.contains(mark)))?;
        Some(format!("line {}", line + 1))
    });
    assert!(marked.is_empty(), "{marked:#?}");
}

#[test]
fn unsafe_code_stays_where_it_may_be() {
    let allowed = ["rings/", "engine/src/backend/", "bench/src/allocations.rs", "xdp-prog/src/", "tests/tests/tidy.rs"];
    let astray = offenders(&["rs"], |file, text| {
        let name = file.strip_prefix(repo()).ok()?.to_str()?;
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let found = code.filter(|line| line.contains("unsafe {") || line.contains("unsafe fn")).count();
        let elsewhere = !allowed.iter().any(|place| name.starts_with(place))
            && !name.contains("/tests/")
            && !name.contains("/benches/");
        (found > 0 && elsewhere).then(|| format!("{found} unsafe blocks"))
    });
    assert!(astray.is_empty(), "{astray:#?}");
}

/// The packages of this workspace.
fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"];
    let output = Command::new(cargo).args(arguments).current_dir(repo()).output().expect("cargo is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

fn name(value: &Value) -> &str {
    value["name"].as_str().expect("a name")
}

#[test]
fn crates_use_crates_of_lower_floors_alone() {
    let packages = packages();
    let mut wrong = Vec::new();
    for package in &packages {
        let Some(floor) = FLOORS.iter().position(|known| *known == name(package)) else {
            wrong.push(format!("{} is on no floor", name(package)));
            continue;
        };
        for used in package["dependencies"].as_array().expect("dependencies") {
            let of_ours = packages.iter().any(|package| name(package) == name(used));
            if of_ours && !FLOORS.iter().take(floor).any(|lower| *lower == name(used)) {
                wrong.push(format!("{} uses {}", name(package), name(used)));
            }
        }
    }
    let missing = FLOORS.iter().filter(|floor| !packages.iter().any(|package| name(package) == **floor));
    wrong.extend(missing.map(|floor| format!("there is no crate {floor}")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn contributing_says_how_to_test_every_crate() {
    let text = std::fs::read_to_string(repo().join("CONTRIBUTING.md")).expect("a document");
    let mut unknown = packages();
    unknown.retain(|package| {
        let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
        let folder = manifest.parent().and_then(|folder| folder.strip_prefix(repo()).ok()).expect("in the checkout");
        !text.contains(&format!("| `{}/` |", folder.display()))
    });
    assert!(unknown.is_empty(), "{:#?}", unknown.iter().map(name).collect::<Vec<_>>());
}

#[test]
fn folders_hold_about_a_dozen_files() {
    let mut folders: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for file in tracked(&["rs"]) {
        let opens = ["lib.rs", "main.rs", "mod.rs"].iter().any(|opening| file.ends_with(opening));
        let small = SMALL_FOLDERS.iter().any(|folder| file.starts_with(repo().join(folder)));
        if let Some(folder) = file.parent().filter(|_| small && !opens) {
            *folders.entry(folder.to_owned()).or_default() += 1;
        }
    }
    let full: Vec<_> = folders.iter().filter(|(_, files)| **files > FILES_MAX).collect();
    assert!(full.is_empty(), "{full:#?}");
}

#[test]
fn resources_alone_change_database_and_tables() {
    let may = ["control/src/resources/", "control/src/store/", "control/src/program/"];
    let astray = offenders(&["rs"], |file, text| {
        let name = file.strip_prefix(repo()).ok()?.to_str()?;
        let elsewhere = name.starts_with("control/src/") && !may.iter().any(|folder| name.starts_with(folder));
        let line = text.lines().position(|line| line.contains(".change(")).filter(|_| elsewhere)?;
        Some(format!("line {}", line + 1))
    });
    assert!(astray.is_empty(), "{astray:#?}");
}
