import { ByteWriter, utf8 } from "./bytes.ts";
import { encodeKeyValues } from "./kvp.ts";
import { type Message, MessageType, RequestErrorCode } from "./messages.ts";
import { encodeLocation, encodeNamespace } from "./names.ts";
import { encodeParameters } from "./params.ts";

/** Relative joining fetch (MoQT-18 §10.12.2). */
export const FETCH_TYPE_RELATIVE_JOINING = 0x2;

const BODY_LEN_MAX = 0xffff;

const TYPES: Record<Message["kind"], number> = {
  setup: MessageType.Setup,
  goaway: MessageType.Goaway,
  subscribe: MessageType.Subscribe,
  track_status: MessageType.TrackStatus,
  subscribe_ok: MessageType.SubscribeOk,
  request_update: MessageType.RequestUpdate,
  request_ok: MessageType.RequestOk,
  request_error: MessageType.RequestError,
  fetch: MessageType.Fetch,
  fetch_ok: MessageType.FetchOk,
  publish_namespace: MessageType.PublishNamespace,
  publish: MessageType.Publish,
  publish_done: MessageType.PublishDone,
};

/** The whole message as it goes on the wire: type, 16-bit length, body (MoQT-18 §10). */
export function encodeMessage(message: Message): Uint8Array {
  const body = encodeBody(new ByteWriter(), message).finish();
  if (body.length > BODY_LEN_MAX) {
    throw new RangeError(`${message.kind} of ${body.length} bytes, ${BODY_LEN_MAX} are allowed`);
  }
  return new ByteWriter().vi64(TYPES[message.kind]).u16(body.length).raw(body).finish();
}

function encodeBody(out: ByteWriter, message: Message): ByteWriter {
  switch (message.kind) {
    case "setup":
      return out.raw(encodeKeyValues(message.options));
    case "goaway":
      out.prefixed(utf8(message.uri)).vi64(message.timeoutMs);
      return message.requestId === undefined ? out : out.vi64(message.requestId);
    case "subscribe":
    case "track_status":
      encodeNamespace(out.vi64(message.requestId), message.namespace).prefixed(utf8(message.track));
      return encodeParameters(out, message.parameters);
    case "subscribe_ok":
      return encodeParameters(out.vi64(message.trackAlias), message.parameters).raw(
        encodeKeyValues(message.properties),
      );
    case "request_update":
      return encodeParameters(out.vi64(message.requestId), message.parameters);
    case "request_ok":
      return encodeParameters(out, message.parameters).raw(encodeKeyValues(message.properties));
    case "request_error":
      return encodeRequestError(out, message);
    case "fetch":
      out.vi64(message.requestId).vi64(FETCH_TYPE_RELATIVE_JOINING);
      return encodeParameters(out.vi64(message.joiningRequestId).vi64(message.start), message.parameters);
    case "fetch_ok":
      encodeLocation(out.u8(message.endOfTrack ? 1 : 0), message.end);
      return encodeParameters(out, message.parameters).raw(encodeKeyValues(message.properties));
    case "publish_namespace":
      return encodeParameters(encodeNamespace(out.vi64(message.requestId), message.namespace), message.parameters);
    case "publish":
      encodeNamespace(out.vi64(message.requestId), message.namespace).prefixed(utf8(message.track));
      encodeParameters(out.vi64(message.trackAlias), message.parameters);
      return out.raw(encodeKeyValues(message.properties));
    case "publish_done":
      return out.vi64(message.status).vi64(message.streamCount).prefixed(utf8(message.reason));
  }
}

function encodeRequestError(out: ByteWriter, message: Extract<Message, { kind: "request_error" }>): ByteWriter {
  // The interval is sent plus one, so that 0 can say "never".
  const interval = message.retryAfterMs === undefined ? 0 : message.retryAfterMs + 1;
  out.vi64(message.code).vi64(interval).prefixed(utf8(message.reason));
  if (message.code === RequestErrorCode.Redirect) {
    const { uri, namespace, track } = message.redirect ?? { uri: "", namespace: [], track: "" };
    encodeNamespace(out.prefixed(utf8(uri)), namespace).prefixed(utf8(track));
  }
  return out;
}
