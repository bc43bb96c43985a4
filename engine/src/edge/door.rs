//! The door of a listener: [`Places`] with the lines behind them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::time::Instant;

use streams_logs::Seldom;
use tracing::warn;

use super::admission::{Arrival, Full, PlaceId, PlaceLimits, Places};
use super::line::Line;

/// What one listener's connections share. It lives on its shard's thread.
pub(crate) struct Door {
    places: RefCell<Places>,
    lines: RefCell<HashMap<PlaceId, Weak<dyn Line>>>,
    turned_away: Seldom,
    /// Said when somebody is.
    words: &'static str,
}

impl Door {
    /// Nobody is in. `words` are for the log when somebody has to go for another.
    pub(crate) fn new(limits: PlaceLimits, words: &'static str) -> Rc<Self> {
        Rc::new(Self {
            places: RefCell::new(Places::new(limits)),
            lines: RefCell::default(),
            turned_away: Seldom::new(),
            words,
        })
    }

    /// A place for a connection from `peer`; another connection may be closed for it. `None`: there is none to be had, and the
    /// connection is to be closed. `turned_away` counts whoever had to go.
    pub(crate) fn enter<L: Line + 'static>(
        self: &Rc<Self>,
        peer: IpAddr,
        line: &Rc<L>,
        turned_away: &mut u64,
    ) -> Option<Place> {
        let now = Instant::now();
        let arrival = self.places.borrow_mut().arrive(peer, now);
        let id = match arrival {
            Arrival::Placed(id) => id,
            Arrival::Instead { place, victim } => {
                self.close(victim);
                self.tell(now, turned_away);
                place
            }
            Arrival::Refused => {
                self.tell(now, turned_away);
                return None;
            }
        };
        let line: Weak<L> = Rc::downgrade(line);
        self.lines.borrow_mut().insert(id, line);
        Some(Place { id, door: self.clone() })
    }

    /// Somebody at `peer` has shown a good key to another shard.
    pub(crate) fn vouch(&self, peer: IpAddr) {
        self.places.borrow_mut().vouch(peer, Instant::now());
    }

    fn close(&self, victim: PlaceId) {
        if let Some(line) = self.lines.borrow_mut().remove(&victim).and_then(|line| line.upgrade()) {
            line.close();
        }
    }

    fn tell(&self, now: Instant, turned_away: &mut u64) {
        *turned_away += 1;
        if let Some(left_out) = self.turned_away.pass(now) {
            warn!(left_out, "{}", self.words);
        }
    }
}

/// A connection's place, given back when it is dropped.
pub(crate) struct Place {
    id: PlaceId,
    door: Rc<Door>,
}

impl Place {
    /// From now on it goes for nobody.
    ///
    /// # Errors
    /// [`Full`]: it may not publish.
    pub(crate) fn publish(&self, input: &str) -> Result<(), Full> {
        self.door.places.borrow_mut().publish(self.id, input, Instant::now())
    }

    /// It publishes no more.
    pub(crate) fn finish(&self) {
        self.door.places.borrow_mut().finish(self.id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.door.places.borrow_mut().leave(self.id);
        self.door.lines.borrow_mut().remove(&self.id);
    }
}
