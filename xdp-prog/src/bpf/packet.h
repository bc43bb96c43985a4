/* From the first byte of a frame to its UDP payload.
 *
 *   Ethernet [ 802.1Q or 802.1ad tag ] ( IPv4 [ options ] | IPv6 ) UDP payload
 *
 * Everything else is left to the kernel's stack: ARP, ICMP, TCP, a second tag, fragments (only the first one has ports, so a
 * datagram would be torn between two stacks) and IPv6 extension headers (QUIC needs none, and walking them costs a loop). */
#pragma once

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/types.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>

#include "contract.h"

#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_FRAGMENT_OFFSET 0x1fff

struct vlan_tag {
	__be16 control;
	__be16 protocol;
};

/* An IPv6 address, or an IPv4 one in its mapped form ::ffff:a.b.c.d; in network order. */
union address {
	__u8 bytes[16];
	__be32 words[4];
	__u64 halves[2];
};

struct datagram {
	union address source;
	union address destination;
	struct udphdr *udp;
	/* Bytes that the IP header announces for the UDP header and its payload. */
	__u32 ip_payload_len;
	__u8 flags;
};

static __always_inline void map_ipv4(union address *address, __be32 ipv4)
{
	address->halves[0] = 0;
	address->words[2] = bpf_htonl(0xffff);
	address->words[3] = ipv4;
}

static __always_inline void *parse_ipv4(struct iphdr *ip, void *end, struct datagram *datagram)
{
	__u32 header_len, total_len;

	if ((void *)(ip + 1) > end)
		return 0;
	header_len = ip->ihl * 4;
	total_len = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header_len < sizeof(*ip) || total_len < header_len || ip->protocol != IPPROTO_UDP)
		return 0;
	if (ip->frag_off & bpf_htons(IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET))
		return 0;
	map_ipv4(&datagram->source, ip->saddr);
	map_ipv4(&datagram->destination, ip->daddr);
	datagram->ip_payload_len = total_len - header_len;
	return (void *)ip + header_len;
}

static __always_inline void *parse_ipv6(struct ipv6hdr *ip, void *end, struct datagram *datagram)
{
	if ((void *)(ip + 1) > end)
		return 0;
	if (ip->version != 6 || ip->nexthdr != IPPROTO_UDP)
		return 0;
	__builtin_memcpy(&datagram->source, &ip->saddr, sizeof(ip->saddr));
	__builtin_memcpy(&datagram->destination, &ip->daddr, sizeof(ip->daddr));
	datagram->ip_payload_len = bpf_ntohs(ip->payload_len);
	datagram->flags |= METADATA_IPV6;
	return ip + 1;
}

/* 1: `datagram` is filled and its UDP header lies within the frame. 0: not for us. */
static __always_inline int parse_datagram(void *frame, void *end, struct datagram *datagram)
{
	struct ethhdr *ethernet = frame;
	void *l3 = ethernet + 1, *l4 = 0;
	__be16 protocol;

	datagram->flags = 0;
	if (l3 > end)
		return 0;
	protocol = ethernet->h_proto;
	if (protocol == bpf_htons(ETH_P_8021Q) || protocol == bpf_htons(ETH_P_8021AD)) {
		struct vlan_tag *tag = l3;

		if ((void *)(tag + 1) > end)
			return 0;
		protocol = tag->protocol;
		l3 = tag + 1;
		datagram->flags |= METADATA_VLAN;
	}
	if (protocol == bpf_htons(ETH_P_IP))
		l4 = parse_ipv4(l3, end, datagram);
	else if (protocol == bpf_htons(ETH_P_IPV6))
		l4 = parse_ipv6(l3, end, datagram);
	if (!l4 || l4 + sizeof(struct udphdr) > end)
		return 0;
	datagram->udp = l4;
	return 1;
}
