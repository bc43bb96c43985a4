/* What can be said of a QUIC packet from outside: RFC 8999 for every version, RFC 9000 and 9369 for versions 1 and 2.
 *
 *   short   0 1 x x x x x x | destination connection id (ours: 16 bytes) | protected
 *   long    1 b x x x x x x | version (4) | length (1) | destination id | length (1) | source id | ...
 *
 * Refused here is only what no endpoint could use, because a drop in this place is silent:
 * - An unknown version is let through: the endpoint answers it with Version Negotiation (RFC 9000 section 6.1), for which it
 *   has to read ids of up to 255 bytes (section 17.2). Only the shape that RFC 8999 promises for all versions is asked of it.
 * - Version 0, Version Negotiation itself, is let through for an engine that is a client of another one. Its other bits are
 *   arbitrary (RFC 9000 section 17.2.1).
 * - In versions 1 and 2 the fixed bit 0x40 must be set and ids have at most 20 bytes (section 17.2). Greasing that bit
 *   (RFC 9287) needs the peer's transport parameter, which the engine does not send, so a cleared bit is an error.
 * - A short header needs the engine's own id, so 17 bytes. That is less than a valid packet has (37 with a sample for header
 *   protection) so that a stateless reset (21 or more, RFC 9000 section 10.3) gets through.
 * - An Initial in less than 1200 bytes is left to the endpoint: as a client it may get one from a server. */
#pragma once

#include <linux/types.h>

#include <bpf/bpf_endian.h>

#include "cid.h"
#include "contract.h"

#define QUIC_LONG_HEADER 0x80
#define QUIC_FIXED_BIT 0x40
#define QUIC_VERSION_1 0x00000001
#define QUIC_VERSION_2 0x6b3343cf
#define QUIC_CID_LEN_MAX 20

#define QUIC_VERSION_OFFSET 1
#define QUIC_LONG_CID_LEN_OFFSET 5
#define QUIC_LONG_CID_OFFSET 6
#define QUIC_SHORT_CID_OFFSET 1
/* First byte, version, two lengths. */
#define QUIC_LONG_LEN_MIN 7

enum quic_verdict {
	QUIC_SHORT,
	QUIC_LONG,
	QUIC_TOO_SHORT,
	QUIC_FIXED_BIT_OFF,
	QUIC_CID_TOO_LONG,
};

static __always_inline enum quic_verdict parse_long(const volatile struct config *config, __u8 *payload, __u32 len,
						    void *end, __u8 *owner)
{
	__u32 destination_len, source_len;
	__be32 version;
	__u8 *source;
	int known;

	if (len < QUIC_LONG_LEN_MIN || (void *)payload + QUIC_LONG_LEN_MIN > end)
		return QUIC_TOO_SHORT;
	__builtin_memcpy(&version, payload + QUIC_VERSION_OFFSET, sizeof(version));
	known = version == bpf_htonl(QUIC_VERSION_1) || version == bpf_htonl(QUIC_VERSION_2);
	if (known && !(payload[0] & QUIC_FIXED_BIT))
		return QUIC_FIXED_BIT_OFF;

	destination_len = payload[QUIC_LONG_CID_LEN_OFFSET];
	if (known && destination_len > QUIC_CID_LEN_MAX)
		return QUIC_CID_TOO_LONG;
	source = payload + QUIC_LONG_CID_OFFSET + destination_len;
	if (len < QUIC_LONG_LEN_MIN + destination_len || (void *)source + 1 > end)
		return QUIC_TOO_SHORT;
	source_len = *source;
	if (known && source_len > QUIC_CID_LEN_MAX)
		return QUIC_CID_TOO_LONG;
	if (len < QUIC_LONG_LEN_MIN + destination_len + source_len)
		return QUIC_TOO_SHORT;

	/* From a client's second flight on, and after Retry, the destination is an id of ours. */
	if (destination_len == CID_LEN && (void *)payload + QUIC_LONG_CID_OFFSET + CID_LEN <= end)
		*owner = cid_owner(config, payload + QUIC_LONG_CID_OFFSET);
	return QUIC_LONG;
}

/* `payload` has `len` bytes, which `end` bounds once more for the verifier. Sets `owner` to a shard or OWNER_NONE. */
static __always_inline enum quic_verdict parse_quic(const volatile struct config *config, __u8 *payload, __u32 len,
						    void *end, __u8 *owner)
{
	*owner = OWNER_NONE;
	if (len < 1 || (void *)payload + 1 > end)
		return QUIC_TOO_SHORT;
	if (payload[0] & QUIC_LONG_HEADER)
		return parse_long(config, payload, len, end, owner);
	if (!(payload[0] & QUIC_FIXED_BIT))
		return QUIC_FIXED_BIT_OFF;
	if (len < QUIC_SHORT_CID_OFFSET + CID_LEN || (void *)payload + QUIC_SHORT_CID_OFFSET + CID_LEN > end)
		return QUIC_TOO_SHORT;
	*owner = cid_owner(config, payload + QUIC_SHORT_CID_OFFSET);
	return QUIC_SHORT;
}
