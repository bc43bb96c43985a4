//! The eBPF programs that bring packets to their shard, and what loads them.
//!
//! ```text
//!                    frame on queue q
//!                          |
//!       Ethernet, IP, UDP, a port of ours? --no--> kernel's stack (ARP, ICMP, TCP, fragments, foreign ports)
//!                          | yes
//!       QUIC: a shape that some endpoint could use? --no--> dropped, counted by kind
//!                          | yes
//!       8 bytes of Metadata put in front of the frame: owner, class, offsets
//!                          |
//!       PerQueue:  socket q                              (shard i = queue i = socket i)
//!       SameQueue: socket = owner (short header) or hash of the 4-tuple      (queue 0 only)
//!                          |
//!       no socket there? --> kernel's stack, counted
//!                          |
//!                   the shard's AF_XDP socket
//! ```
//!
//! - [`XdpProgram`] is that program on an interface. It is held by a link: when the process ends, even by `kill -9`, the kernel
//!   detaches it. One line of [`XdpError`] says what stands in the way.
//! - [`ReuseportProgram`] steers kernel sockets by the same rule, for the backend without AF_XDP.
//! - [`Steering`] is the rule, and its Rust mirror: [`Steering::owner`], [`Steering::flow_shard`], [`cid_mask`]. An engine
//!   issues connection ids with [`cid_mask`], so that it and the programs agree.
//! - [`Metadata`] is what a shard reads in front of a frame.
//! - [`Counters`] account for every frame.
//!
//! # Contract
//!
//! - An owner is a hint. The programs do not check the MAC of a connection id; the shard does, before any look-up.
//! - An AF_XDP socket gets frames only from the queue it is bound to. In mode [`SteeringMode::PerQueue`] put the socket of
//!   queue q at index q; in [`SteeringMode::SameQueue`] bind all sockets to queue 0. A socket at another index gets nothing, and
//!   the kernel counts nothing: compare [`Counters::redirected`] with what the shards received.
//! - What a socket gets is eight bytes longer than the frame: see [`Metadata`].
//! - The card must leave VLAN tags in the frame (`ethtool -K IFACE rx-vlan-offload off`) where tags are used.
//! - Set-up needs root, or CAP_BPF, CAP_PERFMON (the verifier's rule for packet arithmetic) and CAP_NET_ADMIN; afterwards
//!   counters, sockets and dropping need none of them (Linux 5.19).
//!
//! The programs are C, in `src/bpf/`, compiled by clang when the crate is built. They use the kernel's user-space headers only,
//! so one object file serves every kernel from 5.9 on.

mod counters;
mod error;
mod interface;
mod load;
mod metadata;
mod reuseport;
mod skel;
mod steering;
mod xdp;

pub use counters::{Counters, ReuseportCounters};
pub use error::{SteeringError, XdpError};
pub use metadata::Metadata;
pub use reuseport::ReuseportProgram;
pub use steering::{ADDRESSES_MAX, CID_LEN, PORTS_MAX, PortClass, SOCKETS_MAX, Steering, SteeringMode, cid_mask};
pub use xdp::{AttachMode, SteerProgram, XdpProgram};
