/* Brings the engine's datagrams to the AF_XDP socket of a shard, and leaves all other traffic to the kernel.
 *
 *   frame -> Ethernet, IP, UDP -> table `ports` -> QUIC: shape and owner -> metadata -> redirect to xsks[index]
 *                 |                    |                |                                   |
 *                 pass                 pass             drop, counted                       no socket there: pass, counted
 *
 * A socket gets only frames of the queue that it is bound to; a redirect across queues vanishes in the kernel and is counted
 * nowhere. Hence the two modes of contract.h, and hence the counter `redirected`, which the engine compares with what its
 * shards received. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "contract.h"
#include "packet.h"
#include "quic.h"

const volatile struct config config = {};

/* Destination port (host order) to enum port_class. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PORTS_MAX);
	__type(key, __u16);
	__type(value, __u8);
} ports SEC(".maps");

/* Destination addresses of ours, as union address; consulted with config.addresses_only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ADDRESSES_MAX);
	__type(key, union address);
	__type(value, __u8);
} addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, SOCKETS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/* One entry with all counters, so that a packet pays for one look-up. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct steer_counters);
} counters SEC(".maps");

/* What the program knows of a datagram of ours once the packet's pointers are no longer needed. */
struct found {
	struct metadata metadata;
	/* Of the 4-tuple; only computed in MODE_SAME_QUEUE. */
	__u32 flow_shard;
};

static __always_inline __u32 flow_shard(const struct datagram *datagram)
{
	/* Ports as they stand in the packet: source then destination, in network order. */
	const __u64 words[5] = {
		datagram->source.halves[0],
		datagram->source.halves[1],
		datagram->destination.halves[0],
		datagram->destination.halves[1],
		(__u64)datagram->udp->source | (__u64)datagram->udp->dest << 16,
	};
	__u64 hash = siphash(config.key_low, config.key_high, words, 5);

	/* The attacker-proof hash makes a plain remainder fair; shards is at least 1, which the verifier does not know. */
	return config.shards ? (__u32)(hash >> 32) % config.shards : 0;
}

/* Counts a malformed packet and drops it: the kernel's stack has no socket that could use it. */
static __always_inline int drop(__u64 *counter)
{
	*counter += 1;
	return XDP_DROP;
}

static __always_inline int drop_quic(struct steer_counters *count, enum quic_verdict verdict)
{
	if (verdict == QUIC_FIXED_BIT_OFF)
		return drop(&count->malformed_fixed_bit);
	if (verdict == QUIC_CID_TOO_LONG)
		return drop(&count->malformed_cid_length);
	return drop(&count->malformed_too_short);
}

/* XDP_REDIRECT when `found` is filled; otherwise the packet's counted end. */
static __always_inline int inspect(struct xdp_md *ctx, struct steer_counters *count, struct found *found)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct datagram datagram = {};
	__u32 udp_len, available;
	__u16 port;
	__u8 *class, owner = OWNER_NONE;

	if (!parse_datagram(frame, end, &datagram))
		goto pass;
	port = bpf_ntohs(datagram.udp->dest);
	class = bpf_map_lookup_elem(&ports, &port);
	if (!class)
		goto pass;
	if (config.addresses_only && !bpf_map_lookup_elem(&addresses, &datagram.destination))
		goto pass;

	udp_len = bpf_ntohs(datagram.udp->len);
	available = end - (void *)datagram.udp;
	if (udp_len < sizeof(struct udphdr) || udp_len > datagram.ip_payload_len || udp_len > available)
		return drop(&count->malformed_udp_length);

	if (*class == CLASS_QUIC) {
		enum quic_verdict verdict = parse_quic(&config, (__u8 *)(datagram.udp + 1), udp_len - sizeof(struct udphdr),
						       end, &owner);

		if (verdict > QUIC_LONG)
			return drop_quic(count, verdict);
		if (verdict == QUIC_LONG)
			datagram.flags |= METADATA_LONG_HEADER;
	}
	found->metadata.owner = owner;
	found->metadata.class = *class;
	found->metadata.flags = datagram.flags;
	found->metadata.magic = METADATA_MAGIC;
	found->metadata.l4_offset = (void *)datagram.udp - frame;
	found->metadata.payload_len = udp_len - sizeof(struct udphdr);
	if (config.mode == MODE_SAME_QUEUE)
		found->flow_shard = flow_shard(&datagram);
	return XDP_REDIRECT;

pass:
	count->pass += 1;
	return XDP_PASS;
}

/* Index into xsks, or SOCKETS_MAX when no socket can take it. */
static __always_inline __u32 socket_index(const struct xdp_md *ctx, const struct found *found)
{
	if (config.mode == MODE_PER_QUEUE)
		return ctx->rx_queue_index;
	/* All sockets sit on queue 0: a frame of another queue would vanish. */
	if (ctx->rx_queue_index != 0)
		return SOCKETS_MAX;
	/* Every long header by 4-tuple: a client's first flight carries an id of its own choice and its second one of ours, and
	 * both must reach the shard that holds the handshake. */
	if (found->metadata.owner == OWNER_NONE || found->metadata.flags & METADATA_LONG_HEADER)
		return found->flow_shard;
	return found->metadata.owner;
}

/* Makes the metadata the packet's first bytes: a socket's bindings show nothing that lies before a packet. Invalidates all
 * packet pointers. */
static __always_inline int prepend_metadata(struct xdp_md *ctx, const struct metadata *metadata)
{
	struct metadata *place;
	void *end;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*metadata)))
		return 0;
	place = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	/* For the verifier: the packet has just become that much longer. */
	if ((void *)(place + 1) > end)
		return 0;
	*place = *metadata;
	return 1;
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	__u32 zero = 0, index;
	struct steer_counters *count = bpf_map_lookup_elem(&counters, &zero);
	struct found found = {};
	int action;

	/* Cannot be: entry 0 of an array exists. */
	if (!count)
		return XDP_PASS;
	count->rx += 1;
	action = inspect(ctx, count, &found);
	if (action != XDP_REDIRECT)
		return action;

	index = socket_index(ctx, &found);
	/* Tested before the metadata is written, so that the kernel's stack gets the frame as it came. */
	if (index >= SOCKETS_MAX || !bpf_map_lookup_elem(&xsks, &index)) {
		count->no_socket += 1;
		return XDP_PASS;
	}
	if (!prepend_metadata(ctx, &found.metadata)) {
		/* A shard could not tell such a frame from one with metadata. */
		count->no_metadata += 1;
		return XDP_PASS;
	}
	if (bpf_redirect_map(&xsks, index, XDP_PASS) != XDP_REDIRECT) {
		/* The socket was closed between the look-up and here: the kernel's stack gets the frame as it came. */
		bpf_xdp_adjust_head(ctx, sizeof(struct metadata));
		count->no_socket += 1;
		return XDP_PASS;
	}
	if (found.metadata.owner != OWNER_NONE && !(found.metadata.flags & METADATA_LONG_HEADER) &&
	    found.metadata.owner != index)
		count->wrong_shard += 1;
	/* The compiler knows the bound from above and would leave it out; the verifier needs it here. */
	barrier_var(index);
	if (index < SOCKETS_MAX)
		count->redirected[index] += 1;
	return XDP_REDIRECT;
}

char LICENSE[] SEC("license") = "MIT OR Apache-2.0";
