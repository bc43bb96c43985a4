//! Bringing AF_XDP up on an interface: program, queues, sockets; or one line that says why not.

use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use streams_xdp_prog::{AttachMode, Steering, SteeringMode, XdpError, XdpProgram};
use tracing::warn;

use super::interface::{Interface, of_address};
use super::queue::{Binding, Ends, Queue, RingSizes};
use super::{BusyPoll, UdpBackend, XdpBackend};

/// A queue that is busy for longer has another socket. Some milliseconds are usual; the kernel takes sockets apart under a lock
/// for all network devices, which others may hold for a second.
pub(super) const BUSY_TIME_MAX: Duration = Duration::from_secs(2);
/// How often it is tried meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Why AF_XDP cannot be used here. Each message is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum XdpSetupError {
    /// The program: rights, interface, another program, driver.
    #[error("{0}")]
    Program(#[from] XdpError),
    /// `auto` only: the address says against it.
    #[error("{0}")]
    Address(&'static str),
    /// Each shard needs a queue of its own, or all share the only one.
    #[error(
        "{interface} has {queues} receive queues and the engine {shards} shards: make them equal with \
         `ethtool -L {interface} combined {shards}` (or --shards {queues})"
    )]
    Queues {
        /// The interface.
        interface: String,
        /// Its receive queues.
        queues: usize,
        /// Shards of the engine.
        shards: usize,
    },
    /// The interface's facts cannot be read.
    #[error("cannot read the state of interface {interface}: {source}; `ip link` lists those that exist")]
    Interface {
        /// The interface.
        interface: String,
        /// What the kernel answered.
        source: std::io::Error,
    },
    /// Making or binding a socket.
    #[error("cannot bind an AF_XDP socket to queue {queue} of {interface}: {source}{hint}")]
    Bind {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// What the kernel answered.
        source: std::io::Error,
        /// What to do about it.
        hint: &'static str,
    },
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct XdpWish {
    /// The interface; `None`: that of the address, and only where frames need not be copied.
    pub interface: Option<String>,
    /// Where the engine listens.
    pub address: SocketAddr,
    /// How connections are steered; its mode is chosen here.
    pub steering: Steering,
    /// For each shard. On a queue that several share, what is for the first holds for all.
    pub shards: Vec<XdpShardWish>,
}

/// What is asked for one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpShardWish {
    /// Ring sizes and frames.
    pub sizes: RingSizes,
    /// How it drives its queue; `None`: interrupts do.
    pub busy_poll: Option<BusyPoll>,
}

/// AF_XDP on an interface.
pub struct XdpSetup {
    /// One end a shard, in their order.
    /// The program stays attached as long as one of them lives.
    pub ends: Vec<XdpEnd>,
    /// In words, for the log.
    pub summary: String,
}

/// What a shard's thread makes its backend from.
pub struct XdpEnd {
    pub(super) queue: Arc<Queue>,
    pub(super) ends: Ends,
    pub(super) place: usize,
    pub(super) program: Arc<XdpProgram>,
    /// Index in the program's table.
    pub(super) index: usize,
    sizes: RingSizes,
}

impl XdpEnd {
    /// Handles of the descriptors that tell of packets on the queue.
    pub fn wake_fd(&self) -> std::io::Result<OwnedFd> {
        self.ends.socket().try_clone_to_owned()
    }

    /// The backend, with the kernel's socket for what the queue does not carry.
    pub fn into_backend(self, kernel: UdpBackend) -> std::io::Result<XdpBackend> {
        XdpBackend::new(self, kernel)
    }

    /// What the shard got of what was asked for.
    pub fn has(&self) -> XdpShardWish {
        XdpShardWish { sizes: self.sizes, busy_poll: self.ends.busy_poll }
    }
}

/// Attaches the program, binds the sockets and puts them into its table. On failure nothing is left behind.
pub fn set_up(wish: &XdpWish) -> Result<XdpSetup, XdpSetupError> {
    let shards = wish.shards.len();
    let interface = find_interface(wish)?;
    let mode = match interface.queues {
        queues if queues == shards => SteeringMode::PerQueue,
        1 => SteeringMode::SameQueue,
        queues => return Err(XdpSetupError::Queues { interface: interface.name, queues, shards }),
    };
    let steering = Steering { mode, ..wish.steering.clone() };
    let only_zero_copy = wish.interface.is_none();
    let how = if only_zero_copy { AttachMode::Native } else { AttachMode::NativeOrGeneric };
    let program = Arc::new(XdpProgram::attach(&interface.name, &steering, how)?);
    let sharing = if mode == SteeringMode::PerQueue { 1 } else { shards };
    let mut ends = Vec::with_capacity(shards);
    for (queue, wish) in wish.shards.iter().step_by(sharing.max(1)).enumerate() {
        let (queue, parts) = open(&interface, queue, sharing, only_zero_copy, wish.sizes)?;
        let queue = Arc::new(queue);
        for (place, mut part) in parts.into_iter().enumerate() {
            let index = ends.len();
            program.set_socket(index as u32, part.socket())?;
            part.busy_poll = wish.busy_poll.filter(|busy_poll| switched_on(index, *busy_poll, part.socket()));
            let (queue, program) = (queue.clone(), program.clone());
            ends.push(XdpEnd { queue, ends: part, place, program, index, sizes: wish.sizes });
        }
    }
    let summary = summary(&interface, mode, &program, &ends);
    Ok(XdpSetup { ends, summary })
}

/// Busy polling or, when the kernel or the rights are against it, interrupts and a line in the log.
fn switched_on(shard: usize, busy_poll: BusyPoll, socket: BorrowedFd<'_>) -> bool {
    let done = busy_poll.switch_on(socket);
    if let Err(error) = &done {
        let hint = match error.raw_os_error() {
            Some(libc::EPERM) => "it needs CAP_NET_ADMIN",
            Some(libc::ENOPROTOOPT) => "it needs Linux 5.11 with CONFIG_NET_RX_BUSY_POLL",
            _ => "engine.xdp_busy_poll_us = 0 leaves it out",
        };
        warn!(shard, %error, "no busy polling of the AF_XDP queue, interrupts drive it: {hint}");
    }
    done.is_ok()
}

fn find_interface(wish: &XdpWish) -> Result<Interface, XdpSetupError> {
    let name = match &wish.interface {
        Some(name) => name.clone(),
        None => interface_of(wish.address)?,
    };
    Interface::find(&name).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => XdpError::UnknownInterface { interface: name }.into(),
        _ if source.raw_os_error() == Some(libc::ENODEV) => XdpError::UnknownInterface { interface: name }.into(),
        _ => XdpSetupError::Interface { interface: name, source },
    })
}

fn interface_of(address: SocketAddr) -> Result<String, XdpSetupError> {
    if address.ip().is_loopback() {
        return Err(XdpSetupError::Address("the loopback interface has no AF_XDP queues worth having"));
    }
    if address.ip().is_unspecified() {
        return Err(XdpSetupError::Address(
            "the engine listens on every address; --io xdp:INTERFACE names one interface",
        ));
    }
    let found = of_address(address.ip())
        .map_err(|source| XdpSetupError::Interface { interface: address.ip().to_string(), source })?;
    found.ok_or(XdpSetupError::Address("no interface has the address that the engine listens on"))
}

/// With zero copy where the driver has it, else (unless that is not wanted) with one copy a packet in the kernel.
fn open(
    interface: &Interface,
    queue: usize,
    shards: usize,
    only_zero_copy: bool,
    sizes: RingSizes,
) -> Result<(Queue, Vec<Ends>), XdpSetupError> {
    let queue = queue as u32;
    let failed = |source: std::io::Error| XdpSetupError::Bind {
        interface: interface.name.clone(),
        queue,
        hint: hint(&source, only_zero_copy),
        source,
    };
    let name = interface.name.parse().map_err(|error| failed(std::io::Error::other(error)))?;
    let mut binding = Binding { interface: name, queue, zero_copy: true };
    match open_when_free(&binding, shards, sizes) {
        Err(error) if refuses_zero_copy(&error) && !only_zero_copy => {
            binding.zero_copy = false;
            open_when_free(&binding, shards, sizes).map_err(failed)
        }
        opened => opened.map_err(failed),
    }
}

/// A queue whose socket was just closed is busy for a moment, until the kernel has taken it apart.
pub(super) fn open_when_free(
    binding: &Binding,
    shards: usize,
    sizes: RingSizes,
) -> std::io::Result<(Queue, Vec<Ends>)> {
    let began = Instant::now();
    loop {
        match Queue::open(binding, shards, sizes) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && began.elapsed() < BUSY_TIME_MAX => {
                std::thread::sleep(LOOK_INTERVAL);
            }
            opened => return opened,
        }
    }
}

fn refuses_zero_copy(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL))
}

fn hint(error: &std::io::Error, only_zero_copy: bool) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "; run the engine as root or give it CAP_NET_RAW",
        Some(libc::EBUSY) => "; another AF_XDP socket holds the queue: stop what opened it",
        Some(libc::ENOBUFS | libc::ENOMEM) => {
            "; locked memory is not enough: raise `ulimit -l`, see `streams configure check`"
        }
        Some(libc::EOPNOTSUPP) if only_zero_copy => {
            "; its driver copies each packet, so that kernel sockets with GSO are faster"
        }
        _ => "",
    }
}

fn summary(interface: &Interface, mode: SteeringMode, program: &XdpProgram, ends: &[XdpEnd]) -> String {
    let native =
        if program.is_native() { "in the driver" } else { "in generic mode, for its driver has no native XDP" };
    let zero_copy = ends.iter().all(|end| end.ends.zero_copy);
    let copies = if zero_copy { "zero copy" } else { "one copy a packet in the kernel" };
    let queues = match mode {
        SteeringMode::PerQueue => "a queue a shard",
        SteeringMode::SameQueue => "all shards on its only queue",
    };
    let huge = ends.iter().all(|end| end.queue.frames.is_huge());
    let pages = if huge { "huge pages" } else { "4 KiB pages, as no huge pages are free" };
    let polled = if ends.iter().any(|end| end.ends.busy_poll.is_some()) { "busy polling" } else { "interrupts" };
    format!("AF_XDP on {}: program {native}, {copies}, {queues}, {pages}, {polled}", interface.name)
}
