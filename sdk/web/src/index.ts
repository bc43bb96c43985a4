/**
 * Live broadcasts in the browser: watching and publishing.
 *
 *     WebTransport --> session (requests, data streams) --> attempt (catalog, tracks)
 *         --> track feed (order, init segments) --> playback (SourceBuffers, live edge) --> video element
 *
 *     MediaStream --> captures (WebCodecs) --> packager (CMAF, groups, catalog) --> outbox --> session --> WebTransport
 *
 * `BroadcastViewer` and `BroadcastPublisher` are the ways in. The codec below is for those who build something else on MoQT draft-18.
 */
export { BroadcastViewer, unsupportedReason } from "./viewer/viewer.ts";
export type { ViewerError, ViewerEvents, ViewerOptions, ViewerState, ViewerStats } from "./viewer/types.ts";
export { BroadcastPublisher } from "./publish/broadcast-publisher.ts";
export { publishUnsupportedReason } from "./capture/captured-media.ts";
export type {
  PublisherError,
  PublisherEvents,
  PublisherOptions,
  PublisherState,
  PublisherStats,
} from "./publish/types.ts";
export { type Catalog, type CatalogTrack, parseCatalog } from "./media/catalog.ts";
export { MoqSession, type SessionEnd, type SessionHandlers } from "./session/session.ts";
export type { Subscription, TrackHandlers } from "./session/subscription.ts";
export { MOQT_PROTOCOL, type Transport, openWebTransport } from "./session/transport.ts";
