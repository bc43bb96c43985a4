import { concat, utf8 } from "../wire/bytes.ts";

/** An ISO base media file box: length, type, body. */
export function box(type: string, ...body: readonly Uint8Array[]): Uint8Array {
  const length = body.reduce((sum, part) => sum + part.length, 8);
  return concat([u32(length), utf8(type), ...body]);
}

/** A box with version and flags in front of its body. */
export function fullBox(type: string, version: number, flags: number, ...body: readonly Uint8Array[]): Uint8Array {
  return box(type, u32(((version << 24) | flags) >>> 0), ...body);
}

export function u16(...values: readonly number[]): Uint8Array {
  return Uint8Array.from(values.flatMap((value) => [(value >> 8) & 0xff, value & 0xff]));
}

export function u32(...values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  values.forEach((value, i) => view.setUint32(i * 4, value));
  return new Uint8Array(view.buffer);
}

/** A count that a JavaScript number holds exactly, in 64 bits. */
export function u64(value: number): Uint8Array {
  return u32(Math.floor(value / 2 ** 32), value % 2 ** 32);
}

export function zeros(length: number): Uint8Array {
  return new Uint8Array(length);
}
