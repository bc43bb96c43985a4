/**
 * The draft's variable-length integer (MoQT-18 §1.4.1): the number of leading 1-bits of the first byte is the number
 * of bytes that follow. 1 to 9 bytes carry 7 to 64 bits. It is not QUIC's varint. Longer encodings than needed are
 * legal.
 */

/** Largest value of a vi64. */
export const VI64_MAX = (1n << 64n) - 1n;

/** Length in bytes (1…9) of the vi64 that begins with `first` (0…255). */
export function vi64Length(first: number): number {
  // clz32 of the inverted byte, moved to the top of the word, counts the leading ones; 0xff inverts to 0 and counts 32.
  return Math.min(Math.clz32((~first & 0xff) << 24), 8) + 1;
}

/** Value of the complete vi64 at `bytes[at]`; the caller made sure that `vi64Length` bytes are there. */
export function decodeVi64(bytes: Uint8Array, at: number): bigint {
  const first = bytes[at] ?? 0;
  const length = vi64Length(first);
  // With 8 or 9 bytes the first one holds no value bits.
  let value = length >= 8 ? 0n : BigInt(first & (0x7f >> (length - 1)));
  for (let i = 1; i < length; i += 1) {
    value = (value << 8n) | BigInt(bytes[at + i] ?? 0);
  }
  return value;
}

/** Shortest encoding of `value` (0…2^64-1). Throws RangeError outside it. */
export function encodeVi64(value: number | bigint): Uint8Array {
  let rest = BigInt(value);
  if (rest < 0n || rest > VI64_MAX) {
    throw new RangeError(`vi64 ${value} is outside 0…2^64-1`);
  }
  let length = 1;
  while (length < 9 && rest >> BigInt(7 * length) !== 0n) {
    length += 1;
  }
  const out = new Uint8Array(length);
  for (let i = length - 1; i >= 0; i -= 1) {
    out[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  // length-1 leading ones; they never touch a value bit, for the length was chosen so.
  out[0] = (out[0] ?? 0) | (0xff & ~(0xff >> (length - 1)));
  return out;
}
