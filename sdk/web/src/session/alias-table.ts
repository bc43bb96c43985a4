/** Streams that may wait for their track alias at a time, and how long: SUBSCRIBE_OK is a round trip behind at most. */
const WAITING_MAX = 64;
const WAIT_MS_MAX = 3000;

interface Waiting<T> {
  readonly alias: bigint;
  readonly resolve: (value: T | undefined) => void;
}

/**
 * Track alias -> subscription. Data streams can overtake the SUBSCRIBE_OK that tells their alias (MoQT-18 §11.4.2):
 * they wait here, unread, so that the transport's flow control bounds what is held.
 */
export class AliasTable<T> {
  readonly #known = new Map<bigint, T>();
  readonly #waiting = new Set<Waiting<T>>();
  /** Streams given up because too many waited or the alias never came. */
  abandoned = 0;

  set(alias: bigint, value: T): void {
    this.#known.set(alias, value);
    for (const waiting of [...this.#waiting]) {
      if (waiting.alias === alias) {
        this.#waiting.delete(waiting);
        waiting.resolve(value);
      }
    }
  }

  has(alias: bigint): boolean {
    return this.#known.has(alias);
  }

  /** The subscription of `alias`, as soon as it is known; undefined when the stream has to be given up. */
  async get(alias: bigint): Promise<T | undefined> {
    const known = this.#known.get(alias);
    if (known !== undefined) {
      return known;
    }
    if (this.#waiting.size >= WAITING_MAX) {
      this.abandoned += 1;
      return undefined;
    }
    return new Promise((resolve) => {
      const waiting: Waiting<T> = {
        alias,
        resolve: (value) => {
          clearTimeout(timer);
          resolve(value);
        },
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(waiting);
        this.abandoned += 1;
        resolve(undefined);
      }, WAIT_MS_MAX);
      this.#waiting.add(waiting);
    });
  }

  /** Lets every waiting stream go. */
  clear(): void {
    this.#known.clear();
    for (const waiting of this.#waiting) {
      waiting.resolve(undefined);
    }
    this.#waiting.clear();
  }
}
