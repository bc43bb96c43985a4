import type { ByteQueue } from "./byte-queue.ts";
import { ByteReader, text } from "./bytes.ts";
import { FETCH_TYPE_RELATIVE_JOINING } from "./encode.ts";
import { WireError } from "./errors.ts";
import { decodeKeyValues } from "./kvp.ts";
import { type Goaway, type Message, MessageType, type RequestError, RequestErrorCode } from "./messages.ts";
import { decodeLocation, decodeNamespace, decodeTrackName } from "./names.ts";
import { type ParameterName, decodeParameters } from "./params.ts";

/** Longest reason phrase and longest address, in bytes (MoQT-18 §1.4.4, §10.4). */
const REASON_LEN_MAX = 1024;
const URI_LEN_MAX = 8192;

/** Parameters that draft-18 allows in each message (MoQT-18 §10.2.2 and on, "MAY appear in"). */
const SUBSCRIBE_SCOPE: readonly ParameterName[] = [
  "objectDeliveryTimeoutMs",
  "authorizationToken",
  "rendezvousTimeoutMs",
  "subgroupDeliveryTimeoutMs",
  "forward",
  "subscriberPriority",
  "subscriptionFilter",
  "groupOrder",
  "newGroupRequest",
];
const UPDATE_SCOPE = SUBSCRIBE_SCOPE.filter((name) => name !== "rendezvousTimeoutMs" && name !== "groupOrder");
const FETCH_SCOPE: readonly ParameterName[] = [
  "authorizationToken",
  "fillTimeoutMs",
  "subscriberPriority",
  "groupOrder",
];
const ESTABLISHED_SCOPE: readonly ParameterName[] = ["expiresMs", "largestObject"];
/** REQUEST_OK answers PUBLISH too, and says then what SUBSCRIBE would have asked for. */
const REQUEST_OK_SCOPE: readonly ParameterName[] = [
  ...ESTABLISHED_SCOPE,
  ...SUBSCRIBE_SCOPE.filter((name) => name !== "authorizationToken" && name !== "rendezvousTimeoutMs"),
];
const PUBLISH_SCOPE: readonly ParameterName[] = ["authorizationToken", ...ESTABLISHED_SCOPE, "forward"];
const NAMESPACE_SCOPE: readonly ParameterName[] = ["authorizationToken"];

/**
 * The next message of a control or request stream, or undefined when it is not there in full yet.
 * Throws WireError on anything that draft-18 answers with closing the session.
 */
export function readMessage(stream: ByteQueue): Message | undefined {
  const mark = stream.mark();
  const type = stream.number("message type");
  const length = type === undefined ? undefined : stream.take(2);
  const body = length === undefined ? undefined : stream.take(((length[0] ?? 0) << 8) | (length[1] ?? 0));
  if (type === undefined || body === undefined) {
    stream.rewind(mark);
    return undefined;
  }
  stream.commit();
  return decodeMessage(type, body);
}

/** The message of `type` whose body is `body`. */
export function decodeMessage(type: number, body: Uint8Array): Message {
  const reader = new ByteReader(body);
  const message = decodeBody(type, reader);
  reader.expectEnd(message.kind);
  return message;
}

function decodeBody(type: number, body: ByteReader): Message {
  switch (type) {
    case MessageType.Setup:
      return { kind: "setup", options: decodeKeyValues(body) };
    case MessageType.Goaway:
      return decodeGoaway(body);
    case MessageType.Subscribe:
      return {
        kind: "subscribe",
        requestId: body.number("request id"),
        namespace: decodeNamespace(body),
        track: decodeTrackName(body),
        parameters: decodeParameters(body, "SUBSCRIBE", SUBSCRIBE_SCOPE),
      };
    case MessageType.TrackStatus:
      return {
        kind: "track_status",
        requestId: body.number("request id"),
        namespace: decodeNamespace(body),
        track: decodeTrackName(body),
        parameters: decodeParameters(body, "TRACK_STATUS", NAMESPACE_SCOPE),
      };
    case MessageType.SubscribeOk:
      return {
        kind: "subscribe_ok",
        trackAlias: body.vi64("track alias"),
        parameters: decodeParameters(body, "SUBSCRIBE_OK", ESTABLISHED_SCOPE),
        properties: decodeKeyValues(body),
      };
    case MessageType.RequestUpdate:
      return {
        kind: "request_update",
        requestId: body.number("request id"),
        parameters: decodeParameters(body, "REQUEST_UPDATE", UPDATE_SCOPE),
      };
    case MessageType.RequestOk:
      return {
        kind: "request_ok",
        parameters: decodeParameters(body, "REQUEST_OK", REQUEST_OK_SCOPE),
        properties: decodeKeyValues(body),
      };
    case MessageType.RequestError:
      return decodeRequestError(body);
    case MessageType.Fetch:
      return decodeFetch(body);
    case MessageType.FetchOk:
      return {
        kind: "fetch_ok",
        endOfTrack: body.u8("end of track") === 1,
        end: decodeLocation(body, "end location"),
        parameters: decodeParameters(body, "FETCH_OK", []),
        properties: decodeKeyValues(body),
      };
    case MessageType.PublishNamespace:
      return {
        kind: "publish_namespace",
        requestId: body.number("request id"),
        namespace: decodeNamespace(body),
        parameters: decodeParameters(body, "PUBLISH_NAMESPACE", NAMESPACE_SCOPE),
      };
    case MessageType.Publish:
      return {
        kind: "publish",
        requestId: body.number("request id"),
        namespace: decodeNamespace(body),
        track: decodeTrackName(body),
        trackAlias: body.vi64("track alias"),
        parameters: decodeParameters(body, "PUBLISH", PUBLISH_SCOPE),
        properties: decodeKeyValues(body),
      };
    case MessageType.PublishDone:
      return {
        kind: "publish_done",
        status: body.number("status code"),
        streamCount: body.vi64("stream count"),
        reason: text(body.prefixed("reason", REASON_LEN_MAX)),
      };
    default:
      throw new WireError(`message of type 0x${type.toString(16)} is not one a viewer takes`);
  }
}

function decodeGoaway(body: ByteReader): Goaway {
  const uri = text(body.prefixed("address in GOAWAY", URI_LEN_MAX));
  const timeoutMs = body.number("timeout");
  // The request id is there on the control stream only, and last (MoQT-18 §10.4).
  return body.remaining === 0
    ? { kind: "goaway", uri, timeoutMs }
    : { kind: "goaway", uri, timeoutMs, requestId: body.number("request id") };
}

function decodeRequestError(body: ByteReader): RequestError {
  const code = body.number("error code");
  const interval = body.number("retry interval");
  const reason = text(body.prefixed("reason", REASON_LEN_MAX));
  const retry = interval === 0 ? {} : { retryAfterMs: interval - 1 };
  if (code !== RequestErrorCode.Redirect) {
    return { kind: "request_error", code, ...retry, reason };
  }
  const uri = text(body.prefixed("address in REQUEST_ERROR", URI_LEN_MAX));
  const redirect = { uri, namespace: decodeNamespace(body), track: decodeTrackName(body) };
  return { kind: "request_error", code, ...retry, reason, redirect };
}

function decodeFetch(body: ByteReader): Message {
  const requestId = body.number("request id");
  const type = body.number("fetch type");
  if (type !== FETCH_TYPE_RELATIVE_JOINING) {
    throw new WireError(`fetch of type ${type}: this client only knows the relative joining fetch`);
  }
  return {
    kind: "fetch",
    requestId,
    joiningRequestId: body.number("joining request id"),
    start: body.number("joining start"),
    parameters: decodeParameters(body, "FETCH", FETCH_SCOPE),
  };
}
