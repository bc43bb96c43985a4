//! Generic netlink, as little of it as asking and setting a network device's properties takes: one request, its answers.
//!
//! ```text
//! nlmsghdr 16 B { len u32, type u16 (family id), flags u16, seq u32, pid u32 }
//! genlmsghdr 4 B { command u8, version u8, reserved u16 }
//! nlattr 4 B { len u16 (head included), type u16 } value, padded to 4 B …
//! ```
//!
//! Numbers are in the machine's byte order (linux/netlink.h, linux/genetlink.h).

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, bind, recv, sendto, socket};

const MESSAGE_HEAD_LEN: usize = 16;
const GENERIC_HEAD_LEN: usize = 4;
const ATTRIBUTE_HEAD_LEN: usize = 4;
/// The kernel fills at most 32 KiB of an answer's buffer.
const ANSWER_LEN_MAX: usize = 32 << 10;
/// The kernel answers at once; this only bounds the wait for one that never does.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

const FLAG_REQUEST: u16 = 1;
const FLAG_ACK: u16 = 4;
const TYPE_ERROR: u16 = 2;
const NESTED: u16 = 0x8000;
/// Lower 14 bits of an attribute's type: the rest are flags.
const TYPE_MASK: u16 = 0x3fff;

/// The family that knows the others, with a fixed id.
const CONTROL_FAMILY: u16 = 16;
const CONTROL_GET_FAMILY: u8 = 3;
const CONTROL_FAMILY_ID: u16 = 1;
const CONTROL_FAMILY_NAME: u16 = 2;

/// Attributes being put together.
#[derive(Debug, Default, Clone)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// A value as it is. Longer than 64 KiB does not exist here: names and numbers only.
    pub fn put(mut self, kind: u16, value: &[u8]) -> Self {
        let len = u16::try_from(ATTRIBUTE_HEAD_LEN + value.len()).unwrap_or(u16::MAX);
        self.0.extend(len.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// A number of 32 bits.
    pub fn u32(self, kind: u16, value: u32) -> Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Text with the NUL that the kernel's policies ask for.
    pub fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    /// Attributes inside an attribute.
    pub fn nest(self, kind: u16, inside: Attributes) -> Self {
        self.put(kind | NESTED, &inside.0)
    }
}

/// Attributes of an answer; a broken one ends them.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Each attribute's type and value.
    pub fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let len = usize::from(u16_at(rest, 0)?);
            let kind = u16_at(rest, 2)? & TYPE_MASK;
            let value = rest.get(ATTRIBUTE_HEAD_LEN..len)?;
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            Some((kind, value))
        })
    }

    /// The value of the first attribute of a type.
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.iter().find(|(other, _)| *other == kind).map(|(_, value)| value)
    }

    /// The attributes inside one.
    pub fn nested(self, kind: u16) -> Option<Fields<'a>> {
        self.get(kind).map(Fields)
    }

    /// A number of 8 to 64 bits, as its length says.
    pub fn number(self, kind: u16) -> Option<u64> {
        number(self.get(kind)?)
    }

    /// Attributes out of a nested value.
    pub fn of(value: &'a [u8]) -> Self {
        Self(value)
    }
}

/// A number of 1, 2, 4 or 8 bytes.
pub fn number(value: &[u8]) -> Option<u64> {
    match value.len() {
        1 => value.first().map(|byte| u64::from(*byte)),
        2 => u16_at(value, 0).map(u64::from),
        4 => u32_at(value, 0).map(u64::from),
        8 => value.try_into().ok().map(u64::from_ne_bytes),
        _ => None,
    }
}

/// Text without its NUL.
pub fn text(value: &[u8]) -> &str {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    value.get(..end).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

/// A socket to one generic netlink family.
#[derive(Debug)]
pub struct Family {
    socket: OwnedFd,
    id: u16,
    version: u8,
    sequence: u32,
}

impl Family {
    /// Finds a family by name. A kernel without it answers `NotFound`.
    pub fn open(name: &str, version: u8) -> io::Result<Self> {
        let socket = socket(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::GENERIC))?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
        let mut control = Self { socket, id: CONTROL_FAMILY, version: 1, sequence: 0 };
        let answer = control.ask(CONTROL_GET_FAMILY, Attributes::default().text(CONTROL_FAMILY_NAME, name))?;
        let id = answer.fields().number(CONTROL_FAMILY_ID).and_then(|id| u16::try_from(id).ok());
        let id = id.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "netlink family without an id"))?;
        Ok(Self { id, version, ..control })
    }

    /// One request and its answer. Without one (a setting) the answer has no fields.
    pub fn ask(&mut self, command: u8, attributes: Attributes) -> io::Result<Answer> {
        self.sequence += 1;
        let message = self.message(command, &attributes);
        sendto(&self.socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut answer = Answer::default();
        let mut buffer = vec![0; ANSWER_LEN_MAX];
        loop {
            let (len, _) = recv(&self.socket, buffer.as_mut_slice(), RecvFlags::empty())?;
            for (kind, sequence, body) in messages(buffer.get(..len).unwrap_or_default()) {
                if sequence != self.sequence {
                    continue;
                }
                if kind == TYPE_ERROR {
                    return acknowledged(body).map(|()| answer);
                }
                answer.0 = body.get(GENERIC_HEAD_LEN..).unwrap_or_default().to_vec();
            }
        }
    }

    fn message(&self, command: u8, attributes: &Attributes) -> Vec<u8> {
        let len = MESSAGE_HEAD_LEN + GENERIC_HEAD_LEN + attributes.0.len();
        let mut message = Vec::with_capacity(len);
        message.extend(u32::try_from(len).unwrap_or(u32::MAX).to_ne_bytes());
        message.extend(self.id.to_ne_bytes());
        message.extend((FLAG_REQUEST | FLAG_ACK).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend(0_u32.to_ne_bytes());
        message.extend([command, self.version, 0, 0]);
        message.extend(&attributes.0);
        message
    }
}

/// What the kernel answered.
#[derive(Debug, Default)]
pub struct Answer(Vec<u8>);

impl Answer {
    /// Its attributes.
    pub fn fields(&self) -> Fields<'_> {
        Fields(&self.0)
    }
}

/// The error number of an acknowledgement is negative, 0 is success.
fn acknowledged(body: &[u8]) -> io::Result<()> {
    match u32_at(body, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "netlink acknowledgement without a code")),
    }
}

/// Type, sequence number and body of each message in a datagram.
fn messages(datagram: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let len = usize::try_from(u32_at(rest, 0)?).ok()?;
        let body = rest.get(MESSAGE_HEAD_LEN..len)?;
        let head = (u16_at(rest, 4)?, u32_at(rest, 8)?, body);
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(head)
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_found_again() {
        let inside = Attributes::default().text(2, "eth0").u32(3, 7);
        let Attributes(bytes) = Attributes::default().put(1, &[9]).nest(5, inside);
        assert_eq!(bytes.len() % 4, 0);
        let fields = Fields::of(&bytes);
        assert_eq!(fields.number(1), Some(9));
        let nested = fields.nested(5).unwrap();
        assert_eq!((nested.get(2).map(text), nested.number(3)), (Some("eth0"), Some(7)));
        assert_eq!(fields.get(4), None);
    }

    #[test]
    fn broken_answers_end_and_do_not_fail() {
        let Attributes(bytes) = Attributes::default().u32(1, 5).text(2, "name");
        for len in 0..bytes.len() {
            assert!(Fields::of(&bytes[..len]).iter().count() <= 2);
            assert!(messages(&bytes[..len]).count() <= 2);
        }
        // A length of 0 would be read for ever if it were believed.
        assert_eq!(Fields::of(&[0; 16]).iter().count(), 0);
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert!(acknowledged(&[]).is_err());
    }

    #[test]
    fn the_kernel_knows_its_families_and_says_which_it_does_not() {
        let family = Family::open("nlctrl", 2).unwrap();
        assert_eq!(family.id, CONTROL_FAMILY);
        assert_eq!(Family::open("no-such", 1).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
