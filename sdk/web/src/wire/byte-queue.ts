import { safeNumber } from "./bytes.ts";
import { WireError } from "./errors.ts";
import { decodeVi64, vi64Length } from "./vi64.ts";

/**
 * Bytes of a stream that arrive in pieces of any size and leave as fields.
 *
 * A parser takes a `mark`, reads fields until one is `undefined` (not there yet), and goes back to the mark; it
 * continues from there when more bytes came. Nothing is copied but what crosses a piece's border.
 */
export class ByteQueue {
  readonly #pieces: Uint8Array[] = [];
  /** Position of the next byte: index of the piece, offset in it. */
  #piece = 0;
  #offset = 0;
  #available = 0;
  #consumed = 0;

  /** Bytes that can be read now. */
  get available(): number {
    return this.#available;
  }

  push(bytes: Uint8Array): void {
    if (bytes.length > 0) {
      this.#pieces.push(bytes);
      this.#available += bytes.length;
    }
  }

  /** Position to come back to by `rewind`; valid until `commit`. */
  mark(): number {
    return this.#consumed;
  }

  rewind(mark: number): void {
    this.#available += this.#consumed - mark;
    let back = this.#consumed - mark;
    while (back > this.#offset) {
      back -= this.#offset;
      this.#piece -= 1;
      this.#offset = this.#pieces[this.#piece]?.length ?? 0;
    }
    this.#offset -= back;
    this.#consumed = mark;
  }

  /** Gives up everything that was read; marks taken before are void. */
  commit(): void {
    this.#pieces.splice(0, this.#piece);
    this.#piece = 0;
  }

  u8(): number | undefined {
    if (this.#available === 0) {
      return undefined;
    }
    return this.take(1)?.[0];
  }

  vi64(): bigint | undefined {
    const mark = this.mark();
    const first = this.u8();
    if (first === undefined) {
      return undefined;
    }
    this.rewind(mark);
    const bytes = this.take(vi64Length(first));
    return bytes === undefined ? undefined : decodeVi64(bytes, 0);
  }

  /** A vi64 that has to be at most `max`. */
  number(what: string, max: number = Number.MAX_SAFE_INTEGER): number | undefined {
    const value = this.vi64();
    if (value === undefined) {
      return undefined;
    }
    const number = safeNumber(value, what);
    if (number > max) {
      throw new WireError(`${what} is ${number}, ${max} is allowed`);
    }
    return number;
  }

  /** `length` bytes, or undefined (and nothing read) when fewer are there. */
  take(length: number): Uint8Array | undefined {
    if (length > this.#available) {
      return undefined;
    }
    this.#skipFinishedPieces();
    const piece = this.#pieces[this.#piece];
    this.#available -= length;
    this.#consumed += length;
    if (piece === undefined || piece.length - this.#offset >= length) {
      const bytes = piece?.subarray(this.#offset, this.#offset + length) ?? new Uint8Array(0);
      this.#offset += length;
      return bytes;
    }
    return this.#gather(length);
  }

  #gather(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      this.#skipFinishedPieces();
      const piece = this.#pieces[this.#piece] ?? new Uint8Array(0);
      const part = piece.subarray(this.#offset, this.#offset + length - filled);
      bytes.set(part, filled);
      filled += part.length;
      this.#offset += part.length;
    }
    return bytes;
  }

  #skipFinishedPieces(): void {
    while (this.#piece < this.#pieces.length && this.#offset === this.#pieces[this.#piece]?.length) {
      this.#piece += 1;
      this.#offset = 0;
    }
  }
}
