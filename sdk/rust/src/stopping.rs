//! The caller's wish to stop.

use std::future::pending;

use crate::Stop;

/// It may be waited for again after it came.
pub(crate) struct Stopping {
    asked: Option<Stop>,
    stopped: bool,
}

impl Stopping {
    pub(crate) fn new(asked: Option<Stop>) -> Self {
        Self { asked, stopped: false }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub(crate) async fn wait(&mut self) {
        match &mut self.asked {
            _ if self.stopped => {}
            Some(asked) => asked.await,
            None => pending().await,
        }
        self.stopped = true;
    }
}
