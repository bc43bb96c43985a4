import { ByteQueue } from "../wire/byte-queue.ts";
import { readMessage } from "../wire/decode.ts";
import { encodeMessage } from "../wire/encode.ts";
import type { Message } from "../wire/messages.ts";
import type { BidirectionalStream } from "./transport.ts";

/** Reads messages one after another until the stream ends, beginning with what `first` holds; a failure is thrown. */
export async function* messages(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  first = new ByteQueue(),
): AsyncGenerator<Message> {
  for (;;) {
    for (let message = readMessage(first); message !== undefined; message = readMessage(first)) {
      yield message;
    }
    const { value, done } = await reader.read();
    if (done) {
      return;
    }
    first.push(value);
  }
}

/** A request on its own bidirectional stream (MoQT-18 §3.3): requests go one way, their answers come back on it. */
export class RequestStream {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  #cancelled = false;

  constructor(stream: BidirectionalStream) {
    this.#reader = stream.readable.getReader();
    this.#writer = stream.writable.getWriter();
  }

  /** Resolves when the message is handed over; a closed stream or session is no failure of ours. */
  async send(message: Message): Promise<void> {
    await this.#writer.write(encodeMessage(message)).catch(() => undefined);
  }

  answers(): AsyncGenerator<Message> {
    return messages(this.#reader);
  }

  get cancelled(): boolean {
    return this.#cancelled;
  }

  /** Ends the request from our side: reset what we send, stop what we get (MoQT-18 §3.3.2). */
  cancel(): void {
    this.#cancelled = true;
    this.#writer.abort("cancelled").catch(() => undefined);
    this.#reader.cancel("cancelled").catch(() => undefined);
  }

  /**
   * Says that nothing follows, and reads to the end what the other side still has to say. Only a stream that both sides
   * ended is given back: the peer grants a number of open ones.
   */
  async finish(): Promise<void> {
    this.#writer.close().catch(() => undefined);
    try {
      while (!(await this.#reader.read()).done) {
        // Nobody waits for it any more.
      }
    } catch {
      // Cancelled by one of the sides, or the session is over: it is given back as well.
    }
  }
}
