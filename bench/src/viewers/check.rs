//! Whether all viewers got the same, and all of it.
//!
//! What was published is not asked of the server: it is what the viewers together got, and for video also the film itself, whose
//! groups have known lengths in a known order. A group that no viewer got breaks that order.

use std::collections::BTreeMap;

use super::ledger::{Group, Ledger};

/// Groups that a viewer may be behind the first one when the measurement ends: the open one and the one just ended.
const BEHIND_MAX: usize = 2;

/// Examples that are told.
const EXAMPLES_MAX: usize = 3;

/// What was wrong, summed over viewers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Groups between a viewer's first and last that it did not get.
    pub groups_missing: u64,
    /// Objects of ended groups that a viewer did not get.
    pub objects_missing: u64,
    /// Objects that came twice or out of order.
    pub objects_repeated: u64,
    /// Groups that ended for a viewer before their last object.
    pub groups_cut: u64,
    /// Viewers whose first group did not begin with object 0.
    pub joins_wrong: u64,
    /// Viewers that got nothing, or were more than two groups behind at the end.
    pub viewers_behind: u64,
    /// Published video groups that do not follow each other as in the film.
    pub groups_unlike_film: u64,
}

impl Faults {
    /// Whether nothing was wrong.
    pub fn none(&self) -> bool {
        *self == Self::default()
    }

    /// In words.
    pub fn words(&self) -> String {
        let Self {
            groups_missing,
            objects_missing,
            objects_repeated,
            groups_cut,
            joins_wrong,
            viewers_behind,
            groups_unlike_film,
        } = self;
        format!(
            "{groups_missing} groups missing, {objects_missing} objects missing, {objects_repeated} repeated, {groups_cut} \
             groups cut, {joins_wrong} joins wrong, {viewers_behind} viewers behind, {groups_unlike_film} groups unlike the film"
        )
    }
}

/// Checks one track of all viewers; `film` are the lengths of a film's groups, empty when they are not known.
pub fn check(viewers: &[&Ledger], film: &[u64]) -> Faults {
    let published = published(viewers);
    let mut faults = Faults { groups_unlike_film: unlike_film(&published, film), ..Faults::default() };
    for ledger in viewers {
        viewer(ledger, &published, &mut faults);
    }
    faults
}

/// What was wrong with the first group of a viewer that was not as published, in words, for some viewers.
pub fn examples(viewers: &[&Ledger]) -> Vec<String> {
    let published = published(viewers);
    let odd = |(viewer, ledger): (usize, &&Ledger)| {
        let (first_id, _) = ledger.groups.first_key_value()?;
        let wrong = |(id, group): &(&u64, &Group)| {
            let short = !ledger.is_open(**id) && published.get(id).is_some_and(|length| group.next < *length);
            short || group.first != 0 || group.skipped + group.repeated > 0 || group.cut
        };
        let (id, group) = ledger.groups.iter().find(wrong)?;
        let (place, length) = (published.range(first_id..id).count(), published.get(id)?);
        let Group { first, next, fetched, skipped, repeated, ended, cut, .. } = group;
        let of = ledger.groups.len();
        Some(format!(
            "viewer {viewer}, its group {place} of {of} (id {id}, {length} objects): objects {first} to before {next}, {fetched} \
             fetched, {skipped} skipped, {repeated} repeated, ended: {ended}, cut: {cut}"
        ))
    };
    viewers.iter().enumerate().filter_map(odd).take(EXAMPLES_MAX).collect()
}

/// Every group and its length, as the viewers together know them.
fn published(viewers: &[&Ledger]) -> BTreeMap<u64, u64> {
    let mut groups: BTreeMap<u64, u64> = BTreeMap::new();
    for (id, group) in viewers.iter().flat_map(|ledger| &ledger.groups) {
        let length = groups.entry(*id).or_default();
        *length = group.next.max(*length);
    }
    groups
}

fn viewer(ledger: &Ledger, published: &BTreeMap<u64, u64>, faults: &mut Faults) {
    let (Some((first_id, first)), Some((last_id, _))) =
        (ledger.groups.first_key_value(), ledger.groups.last_key_value())
    else {
        faults.viewers_behind += 1;
        return;
    };
    faults.joins_wrong += u64::from(first.first != 0);
    faults.viewers_behind += u64::from(published.range(last_id..).count() > BEHIND_MAX + 1);
    for (id, length) in published.range(first_id..=last_id) {
        let Some(group) = ledger.groups.get(id) else {
            faults.groups_missing += 1;
            continue;
        };
        faults.objects_repeated += group.repeated;
        // Of an open group some viewers have more than others when the measurement ends.
        if ledger.is_open(*id) {
            faults.objects_missing += group.skipped;
            continue;
        }
        faults.groups_cut += u64::from(group.cut);
        faults.objects_missing += missing(group, *length);
    }
}

fn missing(group: &Group, length: u64) -> u64 {
    group.first.saturating_add(group.skipped).saturating_add(length.saturating_sub(group.next))
}

/// Groups whose length is not the one that follows in the film, wherever in the film the viewers joined.
fn unlike_film(published: &BTreeMap<u64, u64>, film: &[u64]) -> u64 {
    let mut lengths: Vec<u64> = published.values().copied().collect();
    // The last is still open.
    lengths.pop();
    let unlike = |start: usize| {
        let expected = film.iter().cycle().skip(start);
        lengths.iter().zip(expected).filter(|(length, expected)| length != expected).count() as u64
    };
    (0..film.len()).map(unlike).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILM: [u64; 3] = [4, 4, 2];

    /// Groups 10, 11, … with the lengths of the film.
    fn watched(groups: std::ops::Range<u64>) -> Ledger {
        let mut ledger = Ledger::default();
        for group in groups {
            let length = FILM[(group % 3) as usize];
            (0..length).for_each(|object| ledger.object(group, object, false));
            ledger.group_end(group, true);
        }
        ledger
    }

    fn faults(viewers: &[Ledger]) -> Faults {
        check(&viewers.iter().collect::<Vec<_>>(), &FILM)
    }

    #[test]
    fn viewers_that_joined_at_different_times_and_saw_all_are_fine() {
        let mut open = watched(11..19);
        open.object(19, 0, false);
        assert!(faults(&[watched(10..19), watched(13..19), open]).none());
    }

    #[test]
    fn a_group_that_another_viewer_got_is_missed() {
        let mut holed = watched(10..20);
        holed.groups.remove(&14);
        assert_eq!(faults(&[watched(10..20), holed]), Faults { groups_missing: 1, ..Faults::default() });
    }

    #[test]
    fn a_group_that_nobody_got_breaks_the_order_of_the_film() {
        let mut holed = watched(10..20);
        holed.groups.remove(&14);
        assert!(faults(&[holed.clone(), holed]).groups_unlike_film > 0);
    }

    #[test]
    fn missing_and_repeated_objects_are_counted() {
        let mut odd = watched(10..20);
        odd.groups.remove(&15);
        [0, 1, 1, 3].into_iter().for_each(|object| odd.object(15, object, false));
        odd.groups.remove(&16);
        odd.object(16, 0, false);
        let found = faults(&[watched(10..20), odd]);
        assert_eq!(found, Faults { objects_missing: 1 + 3, objects_repeated: 1, ..Faults::default() });
    }

    #[test]
    fn a_join_in_the_middle_of_a_group_is_wrong() {
        let mut late = watched(12..20);
        let group = late.groups.get_mut(&12).unwrap();
        *group = Group { first: 1, objects: group.objects - 1, ..*group };
        let found = faults(&[watched(10..20), late]);
        assert_eq!(found, Faults { joins_wrong: 1, objects_missing: 1, ..Faults::default() });
    }

    #[test]
    fn a_viewer_that_got_nothing_or_stands_still_is_behind() {
        assert_eq!(faults(&[watched(10..20), Ledger::default()]).viewers_behind, 1);
        assert_eq!(faults(&[watched(10..20), watched(10..15)]).viewers_behind, 1);
    }

    #[test]
    fn a_group_that_was_reset_is_cut() {
        let mut reset = watched(10..20);
        reset.group_end(14, false);
        assert_eq!(faults(&[watched(10..20), reset]).groups_cut, 1);
    }
}
