/* The owner that one of our connection ids names.
 *
 *   byte 0        1                 2 .. 9     10 .. 15
 *        eeerrrrr shard XOR mask    nonce      MAC
 *        |  5 b random
 *        3 b epoch of the keys                            mask = low byte of SipHash-2-4(key, nonce)
 *
 * The MAC is not checked here: the shard checks it before it looks anything up, and a forged id only reaches a shard that
 * drops it. So an owner is a hint for steering, never a proof. */
#pragma once

#include "contract.h"
#include "siphash.h"

#define CID_LEN 16
#define CID_EPOCH_SHIFT 5
#define CID_SHARD_OFFSET 1
#define CID_NONCE_OFFSET 2

/* `cid` points to CID_LEN readable bytes. OWNER_NONE for an id of another epoch or a shard that does not exist. */
static __always_inline __u8 cid_owner(const volatile struct config *config, const __u8 *cid)
{
	__u64 nonce;
	__u8 shard;

	if (cid[0] >> CID_EPOCH_SHIFT != config->cid_epoch)
		return OWNER_NONE;
	__builtin_memcpy(&nonce, cid + CID_NONCE_OFFSET, sizeof(nonce));
	shard = cid[CID_SHARD_OFFSET] ^ (__u8)siphash(config->key_low, config->key_high, &nonce, 1);
	return shard < config->shards ? shard : OWNER_NONE;
}
