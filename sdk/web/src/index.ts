/**
 * Live broadcast playback in the browser.
 *
 *     WebTransport --> session (requests, data streams) --> attempt (catalog, tracks)
 *         --> track feed (order, init segments) --> playback (SourceBuffers, live edge) --> video element
 *
 * `BroadcastViewer` is the way in. The codec below is for those who build something else on MoQT draft-18.
 */
export { BroadcastViewer, unsupportedReason } from "./viewer/viewer.ts";
export type { ViewerError, ViewerEvents, ViewerOptions, ViewerState, ViewerStats } from "./viewer/types.ts";
export { type Catalog, type CatalogTrack, parseCatalog } from "./media/catalog.ts";
export { MoqSession, type SessionEnd, type SessionHandlers } from "./session/session.ts";
export type { Subscription, TrackHandlers } from "./session/subscription.ts";
export { MOQT_PROTOCOL, type Transport, openWebTransport } from "./session/transport.ts";
