use std::io;

/// What can go wrong with the programs. Every message is one line that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XdpError {
    /// The process lacks the capabilities; nothing is loaded.
    #[error(
        "no rights to load or attach an eBPF program: run the engine as root, or give it CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN \
         (or use --io udp, which needs none)"
    )]
    NoRights,
    /// No interface of this name in the process's network namespace.
    #[error("no network interface `{interface}`: `ip link` lists those that exist")]
    UnknownInterface {
        /// The name asked for.
        interface: String,
    },
    /// One XDP program an interface is the kernel's limit.
    #[error(
        "another XDP program is attached to {interface}: stop what attached it, or remove it with \
         `ip link set dev {interface} xdp off`"
    )]
    AnotherProgram {
        /// The interface asked for.
        interface: String,
    },
    /// Only [`AttachMode::Native`](crate::AttachMode::Native) fails with this.
    #[error("the driver of {interface} has no native XDP: allow generic mode, or use --io udp")]
    NoNativeMode {
        /// The interface asked for.
        interface: String,
    },
    /// The driver has XDP but not in this configuration (veth answers ERANGE when the peer's MTU is above one page).
    #[error(
        "{interface} refuses an XDP program ({source}): check its MTU (at most 3,500 bytes), and turn off LRO and \
         hardware GRO with `ethtool -K {interface} lro off rx-gro-hw off`"
    )]
    Refused {
        /// The interface asked for.
        interface: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel's verifier did not accept the program: this kernel is older than 5.9, or the program has a defect.
    #[error(
        "the kernel's verifier refuses the program `{program}`: {reason} (Linux 5.9 or newer is needed; please report \
         the verifier's log otherwise)"
    )]
    Verifier {
        /// Which program.
        program: &'static str,
        /// The log's last line that is not statistics.
        reason: String,
        /// The whole log, up to 1 MiB: write it to a file beside the error.
        log: String,
    },
    /// Loading failed for another reason than rights or the verifier.
    #[error("cannot load the eBPF program `{program}`: {source:#}")]
    Load {
        /// Which program.
        program: &'static str,
        /// What libbpf answered.
        source: libbpf_rs::Error,
    },
    /// A [`Steering`](crate::Steering) that no program can carry out.
    #[error("steering: {0}")]
    Steering(#[from] SteeringError),
    /// A socket could not be put at its index.
    #[error("cannot put a socket at index {index}: {source:#} (the index is below 256, and the socket {expected})")]
    Socket {
        /// The index asked for.
        index: u32,
        /// What the socket has to be.
        expected: &'static str,
        /// What the kernel answered.
        source: libbpf_rs::Error,
    },
    /// The group of sockets did not take the program.
    #[error("cannot attach the program to the group of sockets: {0} (all must be bound, with SO_REUSEPORT)")]
    Group(io::Error),
    /// The counters could not be read.
    #[error("cannot read the counters of an eBPF program: {0:#}")]
    Counters(libbpf_rs::Error),
}

/// A value of [`Steering`](crate::Steering) out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SteeringError {
    /// There is nobody to steer to.
    #[error("0 shards; at least 1 is needed")]
    NoShards,
    /// The epoch has three bits.
    #[error("connection id epoch {0}; at most 7 is possible")]
    Epoch(u8),
    /// More ports than the table has room for.
    #[error("{0} ports; at most 1024 are possible")]
    Ports(usize),
    /// Every shard has exactly one socket in a group.
    #[error("{sockets} sockets for {shards} shards; each shard needs one")]
    Sockets {
        /// Sockets given.
        sockets: usize,
        /// Shards of the steering.
        shards: u8,
    },
    /// One port cannot have two classes.
    #[error("port {0} is listed twice")]
    PortTwice(u16),
    /// More addresses than the table has room for.
    #[error("{0} addresses; at most 256 are possible")]
    Addresses(usize),
}
