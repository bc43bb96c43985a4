/* SipHash-2-4 (Aumasson and Bernstein, 2012) over whole 64-bit words.
 *
 * A keyed function, so that nobody who does not know the key can tell the shard from a connection id, or choose source ports
 * that all land on one shard. Messages here are one word (a connection id's nonce) or five (a flow), never anything else:
 * their different lengths, which SipHash mixes in, keep the two uses apart under one key. */
#pragma once

#include <linux/types.h>

#define ROTATE_LEFT(x, bits) (((x) << (bits)) | ((x) >> (64 - (bits))))

struct sip_state {
	__u64 v0, v1, v2, v3;
};

static __always_inline void sip_round(struct sip_state *s)
{
	s->v0 += s->v1;
	s->v1 = ROTATE_LEFT(s->v1, 13) ^ s->v0;
	s->v0 = ROTATE_LEFT(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = ROTATE_LEFT(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = ROTATE_LEFT(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = ROTATE_LEFT(s->v1, 17) ^ s->v2;
	s->v2 = ROTATE_LEFT(s->v2, 32);
}

static __always_inline void sip_word(struct sip_state *s, __u64 word)
{
	s->v3 ^= word;
	sip_round(s);
	sip_round(s);
	s->v0 ^= word;
}

/* `count` is a constant at every call, so the loop is unrolled and the words never need an address. */
static __always_inline __u64 siphash(__u64 key_low, __u64 key_high, const __u64 *words, const int count)
{
	struct sip_state s = {
		.v0 = key_low ^ 0x736f6d6570736575ULL,
		.v1 = key_high ^ 0x646f72616e646f6dULL,
		.v2 = key_low ^ 0x6c7967656e657261ULL,
		.v3 = key_high ^ 0x7465646279746573ULL,
	};

#pragma unroll
	for (int i = 0; i < count; i++)
		sip_word(&s, words[i]);
	/* The last block holds the length in bytes and, as there is no rest, nothing else. */
	sip_word(&s, (__u64)(count * 8) << 56);

	s.v2 ^= 0xff;
#pragma unroll
	for (int i = 0; i < 4; i++)
		sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
