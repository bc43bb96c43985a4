/* Chooses the socket of a SO_REUSEPORT group for the backend with kernel sockets, by the same rule as steer.bpf.c: a short
 * header goes to the shard that its connection id names, everything else to the socket that the kernel's hash of the
 * 4-tuple gives, which stays the same for a client as long as the group does. */
#include <linux/bpf.h>
#include <linux/udp.h>

#include <bpf/bpf_helpers.h>

#include "contract.h"
#include "quic.h"

const volatile struct config config = {};

/* Socket i is that of shard i. */
struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, SOCKETS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct reuseport_counters);
} counters SEC(".maps");

SEC("sk_reuseport")
int reuseport(struct sk_reuseport_md *ctx)
{
	/* The context starts at the UDP header. Its bytes are copied, not read in place: they need not be linear. */
	__u8 head[QUIC_SHORT_CID_OFFSET + CID_LEN];
	__u32 zero = 0, index;
	struct reuseport_counters *count = bpf_map_lookup_elem(&counters, &zero);

	/* Cannot be: entry 0 of an array exists. */
	if (!count)
		return SK_PASS;
	if (bpf_skb_load_bytes(ctx, sizeof(struct udphdr), head, sizeof(head)) ||
	    (head[0] & (QUIC_LONG_HEADER | QUIC_FIXED_BIT)) != QUIC_FIXED_BIT)
		goto hashed;
	index = cid_owner(&config, head + QUIC_SHORT_CID_OFFSET);
	if (index == OWNER_NONE)
		goto hashed;
	/* Without a selected socket the kernel's hash decides. */
	if (bpf_sk_select_reuseport(ctx, &sockets, &index, 0))
		goto gone;
	/* The compiler knows that an owner is a byte and would leave this out; the verifier needs it here. */
	barrier_var(index);
	if (index < SOCKETS_MAX)
		count->selected[index] += 1;
	return SK_PASS;

gone:
	count->no_socket += 1;
	return SK_PASS;

hashed:
	count->hashed += 1;
	return SK_PASS;
}

char LICENSE[] SEC("license") = "MIT OR Apache-2.0";
