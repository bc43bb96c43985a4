//! The way to a peer, as somebody who wants it closed sees it.

use std::net::{Shutdown, TcpStream};

/// A connection that can be ended from outside its task.
pub trait Line {
    /// Ends it: its task finds the end of what it reads and goes. `Read` leaves it the way to say a last word.
    fn hang_up(&self, how: Shutdown);
}

impl Line for TcpStream {
    fn hang_up(&self, how: Shutdown) {
        // A socket that is gone already is what was wanted.
        let _ = self.shutdown(how);
    }
}
