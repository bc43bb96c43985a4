import { type ByteReader, ByteWriter } from "./bytes.ts";
import { WireError } from "./errors.ts";
import { VI64_MAX } from "./vi64.ts";

/** Longest value of an odd type (MoQT-18 §1.4.3). */
const VALUE_LEN_MAX = 0xffff;

/** A Setup Option or a Property. Even types carry an integer, odd types bytes. */
export interface KeyValue {
  readonly type: bigint;
  readonly value: bigint | Uint8Array;
}

/** `pairs` in ascending order of type, types as differences (MoQT-18 §1.4.3). */
export function encodeKeyValues(pairs: readonly KeyValue[]): Uint8Array {
  const out = new ByteWriter();
  let previous = 0n;
  for (const { type, value } of [...pairs].sort((a, b) => (a.type < b.type ? -1 : a.type > b.type ? 1 : 0))) {
    out.vi64(type - previous);
    previous = type;
    if (typeof value === "bigint") {
      out.vi64(value);
    } else {
      out.prefixed(value);
    }
  }
  return out.finish();
}

/** All pairs up to the end of `body`. */
export function decodeKeyValues(body: ByteReader): KeyValue[] {
  const pairs: KeyValue[] = [];
  let type = 0n;
  while (body.remaining > 0) {
    type += body.vi64("type of a key-value pair");
    if (type > VI64_MAX) {
      throw new WireError("type of a key-value pair is over 2^64-1");
    }
    const value =
      type % 2n === 0n
        ? body.vi64("value of a key-value pair")
        : body.prefixed("value of a key-value pair", VALUE_LEN_MAX);
    pairs.push({ type, value });
  }
  return pairs;
}
