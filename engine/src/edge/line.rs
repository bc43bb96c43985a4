//! An encoder's transport, as far as others may end it.

use std::cell::Cell;
use std::net::{Shutdown, TcpStream};

/// What carries one encoder's session.
pub trait Line {
    /// Nothing more is read: its task wakes with the end of the stream, and may still say why.
    fn stop_reading(&self);
    /// It is over, without a word.
    fn close(&self);
}

impl Line for TcpStream {
    fn stop_reading(&self) {
        // A socket that is gone already is what was wanted.
        let _ = self.shutdown(Shutdown::Read);
    }

    fn close(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

/// The line of a datagram protocol: many share a socket, whose task looks at each.
#[derive(Default)]
pub(crate) struct DatagramLine {
    ended: Cell<bool>,
}

impl DatagramLine {
    /// Somebody has ended it.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.get()
    }
}

impl Line for DatagramLine {
    fn stop_reading(&self) {
        self.ended.set(true);
    }

    fn close(&self) {
        self.ended.set(true);
    }
}
