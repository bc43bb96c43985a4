import { WireError } from "./errors.ts";
import { decodeVi64, encodeVi64, vi64Length } from "./vi64.ts";

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder();

/** UTF-8 bytes of `text`. */
export function utf8(text: string): Uint8Array {
  return utf8Encoder.encode(text);
}

/** Text of UTF-8 bytes; broken sequences become U+FFFD. */
export function text(bytes: Uint8Array): string {
  return utf8Decoder.decode(bytes);
}

/** One array out of `parts`, in order. A single part is returned as it is. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) {
    return only;
  }
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * A vi64 as a JavaScript number. Group ids of this system are milliseconds of Unix time and stay far below 2^53; a
 * peer that sends more cannot be followed exactly, so it is refused rather than rounded.
 */
export function safeNumber(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new WireError(`${what} ${value} is larger than 2^53-1`);
  }
  return Number(value);
}

/** Collects the fields of one message. */
export class ByteWriter {
  readonly #parts: Uint8Array[] = [];

  u8(value: number): this {
    this.#parts.push(Uint8Array.of(value));
    return this;
  }

  u16(value: number): this {
    this.#parts.push(Uint8Array.of(value >> 8, value & 0xff));
    return this;
  }

  vi64(value: number | bigint): this {
    this.#parts.push(encodeVi64(value));
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    return this;
  }

  /** Length as vi64, then the bytes. */
  prefixed(bytes: Uint8Array): this {
    return this.vi64(bytes.length).raw(bytes);
  }

  finish(): Uint8Array {
    return concat(this.#parts);
  }
}

/** Reads the fields of one complete message body; running past its end is a protocol violation. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  u8(what: string): number {
    return this.raw(1, what)[0] ?? 0;
  }

  vi64(what: string): bigint {
    const first = this.#bytes[this.#at];
    if (first === undefined) {
      throw new WireError(`message ends before ${what}`);
    }
    const at = this.#at;
    this.raw(vi64Length(first), what);
    return decodeVi64(this.#bytes, at);
  }

  /** A vi64 that has to fit a JavaScript number. */
  number(what: string): number {
    return safeNumber(this.vi64(what), what);
  }

  raw(length: number, what: string): Uint8Array {
    if (length > this.remaining) {
      throw new WireError(`${what} needs ${length} bytes, the message has ${this.remaining} left`);
    }
    const bytes = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return bytes;
  }

  /** Length as vi64, at most `lengthMax`, then the bytes. */
  prefixed(what: string, lengthMax: number): Uint8Array {
    const length = this.vi64(`length of ${what}`);
    if (length > BigInt(lengthMax)) {
      throw new WireError(`${what} is ${length} bytes long, ${lengthMax} are allowed`);
    }
    return this.raw(Number(length), what);
  }

  /** The message's length field has to be exact (MoQT-18 §10). */
  expectEnd(what: string): void {
    if (this.remaining !== 0) {
      throw new WireError(`${what} has ${this.remaining} bytes after its last field`);
    }
  }
}
