//! Every counter has one place: in its section, among the indices, and on the page for people.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

use streams_contract::{Counter, CounterKind, Section};

#[test]
fn counters_have_one_index_one_name_and_one_section_each() {
    for (index, counter) in Counter::ALL.iter().enumerate() {
        assert_eq!(counter.index(), index);
        assert!(counter.section().counters().contains(counter), "{counter:?}");
    }
    assert_eq!(Counter::ALL.iter().map(|counter| counter.name()).collect::<HashSet<_>>().len(), Counter::COUNT);
    assert_eq!(Section::ALL.iter().map(|section| section.counters().len()).sum::<usize>(), Counter::COUNT);
}

#[test]
fn an_index_never_changes_its_meaning() {
    // The first and the last of the builds before this page was written: what a build N-1 reads at these places.
    let names = |indices: [usize; 4]| indices.map(|index| Counter::ALL[index].name());
    assert_eq!(names([0, 15, 37, 73]), ["rx_datagrams", "sessions_open", "hand_overs", "shares_refused"]);
}

/// The tables of `docs/counters.md`.
fn tables() -> String {
    let mut text = String::new();
    for section in Section::ALL {
        let (title, about) = (section.title(), section.about());
        let _ = write!(text, "\n## {title}\n\n{about}\n\n| counter | kind | unit | meaning |\n|---|---|---|---|\n");
        for counter in section.counters() {
            let kind = match counter.kind() {
                CounterKind::Total => "total",
                CounterKind::Gauge => "gauge",
            };
            let (name, unit, help) = (counter.name(), counter.unit(), counter.help());
            let _ = writeln!(text, "| `{name}` | {kind} | {unit} | {help} |");
        }
    }
    text
}

#[test]
fn the_page_says_what_the_declaration_does() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/counters.md");
    let page = std::fs::read_to_string(page).expect("docs/counters.md");
    let wanted = tables();
    let is = page.find("\n## ").map_or("", |at| &page[at..]);
    assert_eq!(is, wanted, "put these tables into docs/counters.md:\n{wanted}");
}
