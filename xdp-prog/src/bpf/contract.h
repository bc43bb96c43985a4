/* What the programs and the Rust side agree on. The Rust mirror is in counters.rs, metadata.rs and steering.rs; the tests
 * run real packets through both. */
#pragma once

#include <linux/types.h>

/* Sockets that one program can address: as many as a shard number (one byte) can name. */
#define SOCKETS_MAX 256
/* QUIC, SRT and one WebRTC port a shard, on a few addresses' worth of engines. */
#define PORTS_MAX 1024
#define ADDRESSES_MAX 256

/* An owner that no shard has: shards are 0 .. 254. */
#define OWNER_NONE 255

/* Values of the table `ports`. */
enum port_class {
	CLASS_QUIC = 1,
	CLASS_SRT = 2,
	CLASS_WEBRTC = 3,
};

enum steering_mode {
	/* Shard i owns queue i: the packet stays with the queue that the card chose. */
	MODE_PER_QUEUE = 0,
	/* All shards share queue 0: the program chooses the shard. */
	MODE_SAME_QUEUE = 1,
};

/* Set before the program is loaded and constant from then on, so the verifier and the JIT treat it as literals. */
struct config {
	/* The 16-byte key of SipHash as two little-endian words. */
	__u64 key_low;
	__u64 key_high;
	/* enum steering_mode */
	__u32 mode;
	/* 1 .. 255 */
	__u32 shards;
	/* 0 .. 7, the top three bits of the ids that are valid now. */
	__u32 cid_epoch;
	/* 1: only datagrams to the table `addresses` are ours. 0: any address of a frame that reached the interface. */
	__u32 addresses_only;
};

#define METADATA_LONG_HEADER 1
#define METADATA_IPV6 2
#define METADATA_VLAN 4

/* Tells our metadata from zeroed memory and from another layout. Change it with the layout. */
#define METADATA_MAGIC 0xA7

/* The eight bytes in front of the frame, the first of what a socket gets, little-endian. */
struct metadata {
	__u8 owner;
	__u8 class;
	__u8 flags;
	__u8 magic;
	/* From the first byte of the frame to the UDP header. */
	__u16 l4_offset;
	/* Bytes after the UDP header, without the padding of short frames. */
	__u16 payload_len;
};
_Static_assert(sizeof(struct metadata) == 8, "the shard reads eight bytes");

/* Every frame ends in exactly one of: pass, malformed_*, redirected[i], no_socket, no_metadata. Their sum is rx. */
struct steer_counters {
	__u64 rx;
	__u64 pass;
	__u64 malformed_udp_length;
	__u64 malformed_too_short;
	__u64 malformed_fixed_bit;
	__u64 malformed_cid_length;
	/* Ours and well-formed, but no socket sits at its index: the kernel's stack got it. */
	__u64 no_socket;
	/* Ours and well-formed, but there is no room for the eight bytes in front of it: the kernel's stack got it. */
	__u64 no_metadata;
	/* Redirected to another socket than that of the shard named by a short header. */
	__u64 wrong_shard;
	__u64 redirected[SOCKETS_MAX];
};

/* Every datagram ends in exactly one of: hashed, no_socket, selected[i]. */
struct reuseport_counters {
	/* Names no owner (long header, other epoch, junk): the kernel's hash of the 4-tuple decides. */
	__u64 hashed;
	/* Names an owner whose socket is gone: the kernel's hash decides. */
	__u64 no_socket;
	__u64 selected[SOCKETS_MAX];
};
