import { WireError } from "../wire/errors.ts";
import type { Message, RequestError } from "../wire/messages.ts";
import { GroupStream } from "./group-stream.ts";
import type { RequestStream } from "./request-stream.ts";
import type { Transport } from "./transport.ts";

/** What the server says of an offered track. */
export interface PublicationHandlers {
  /** It takes the track: groups may be sent. */
  accepted(): void;
  refused(error: RequestError): void;
}

/** A track that a session publishes. */
export interface Publication {
  /** Opens the stream of a group. `priority`: 0…255, the lower the more urgent. */
  openGroup(group: number, priority: number): GroupStream;
  /** Says that nothing follows on the track; resolves when the server has read it. */
  done(status: number, reason: string): Promise<void>;
}

/** The offer of one track, its answer and its groups. */
export class TrackPublication implements Publication {
  readonly #transport: Transport;
  readonly #alias: bigint;
  #request: RequestStream | undefined;
  #streams = 0;

  constructor(transport: Transport, alias: bigint) {
    this.#transport = transport;
    this.#alias = alias;
  }

  openGroup(group: number, priority: number): GroupStream {
    this.#streams += 1;
    return new GroupStream(this.#transport, { alias: this.#alias, group, priority });
  }

  async done(status: number, reason: string): Promise<void> {
    void this.#request?.send({ kind: "publish_done", status, streamCount: BigInt(this.#streams), reason });
    await this.#request?.finish();
  }

  /** Reads what the server answers, for as long as the track is published. */
  async follow(
    answers: AsyncGenerator<Message>,
    request: RequestStream,
    handlers: PublicationHandlers,
  ): Promise<void> {
    this.#request = request;
    for await (const message of answers) {
      switch (message.kind) {
        case "request_ok":
          handlers.accepted();
          break;
        case "request_error":
          handlers.refused(message);
          return;
        case "request_update":
          // Nothing of what a subscriber may change matters to who sends each group once.
          void request.send({ kind: "request_ok", parameters: {}, properties: [] });
          break;
        default:
          throw new WireError(`${message.kind} in answer to PUBLISH`);
      }
    }
  }
}
