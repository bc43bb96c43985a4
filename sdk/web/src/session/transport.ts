/** A stream that both sides can write. */
export interface BidirectionalStream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

/** How a session's transport was closed by the other side. */
export interface CloseInfo {
  readonly closeCode?: number;
  readonly reason?: string;
}

/** The part of WebTransport that a session uses; tests put a pair of pipes in its place. */
export interface Transport {
  readonly ready: Promise<unknown>;
  readonly closed: Promise<CloseInfo>;
  readonly incomingUnidirectionalStreams: ReadableStream<ReadableStream<Uint8Array>>;
  readonly incomingBidirectionalStreams: ReadableStream<BidirectionalStream>;
  createUnidirectionalStream(options?: { sendOrder?: number }): Promise<WritableStream<Uint8Array>>;
  createBidirectionalStream(): Promise<BidirectionalStream>;
  close(info?: CloseInfo): void;
}

/** Version token of draft-18 (MoQT-18 §3.1.3), offered as WebTransport subprotocol. */
export const MOQT_PROTOCOL = "moqt-18";

/**
 * Opens a WebTransport session at `url`. `certificateHashes` are SHA-256 digests of the server's certificate; without
 * any, the browser's own trust store decides.
 */
export function openWebTransport(url: string, certificateHashes: readonly Uint8Array[]): Transport {
  const serverCertificateHashes = certificateHashes.map((hash) => ({
    algorithm: "sha-256",
    value: new Uint8Array(hash),
  }));
  return new WebTransport(url, {
    protocols: [MOQT_PROTOCOL],
    ...(serverCertificateHashes.length > 0 ? { serverCertificateHashes } : {}),
  });
}
