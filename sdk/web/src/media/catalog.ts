/** One rendition of the broadcast, as `.catalog` tells it. Unknown fields are ignored. */
export interface CatalogTrack {
  readonly name: string;
  readonly kind: "video" | "audio";
  /** RFC 6381, for example `avc1.42E01F`. */
  readonly codec: string;
  readonly width?: number;
  readonly height?: number;
  readonly framerate?: number;
  readonly sampleRate?: number;
  readonly channels?: number;
  /** Bits a second. */
  readonly bitrate?: number;
  /** ftyp + moov, when the catalog carries it. */
  readonly init?: Uint8Array;
  /** Track whose groups are init segments. */
  readonly initTrack?: string;
  /** First media group that `init` applies to. */
  readonly initGroup: number;
}

export interface Catalog {
  readonly live: boolean;
  readonly tracks: readonly CatalogTrack[];
}

/** A catalog this player cannot use; the message says which part. */
export class CatalogError extends Error {
  override readonly name = "CatalogError";
}

/** Tracks taken from one catalog: a ladder has a handful. */
const TRACKS_MAX = 64;

/** Parses a `.catalog` object. Tracks of unknown kind are left out. Throws CatalogError. */
export function parseCatalog(payload: Uint8Array): Catalog {
  let root: unknown;
  try {
    root = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch (error) {
    throw new CatalogError(`catalog is not JSON: ${String(error)}`);
  }
  if (!isRecord(root) || !Array.isArray(root["tracks"])) {
    throw new CatalogError("catalog has no list of tracks");
  }
  if (root["version"] !== 1) {
    throw new CatalogError(`catalog of version ${String(root["version"])}, this player reads version 1`);
  }
  const tracks = root["tracks"].slice(0, TRACKS_MAX).flatMap((track: unknown) => parseTrack(track) ?? []);
  return { live: root["live"] !== false, tracks };
}

function parseTrack(track: unknown): CatalogTrack | undefined {
  if (!isRecord(track) || (track["kind"] !== "video" && track["kind"] !== "audio")) {
    return undefined;
  }
  const { name, kind, codec } = track;
  if (typeof name !== "string" || typeof codec !== "string") {
    throw new CatalogError("a track of the catalog has no name or no codec");
  }
  const init = track["init"];
  return {
    name,
    kind,
    codec,
    initGroup: positive(track["initGroup"]) ?? 0,
    ...optional("width", positive(track["width"])),
    ...optional("height", positive(track["height"])),
    ...optional("framerate", positive(track["framerate"])),
    ...optional("sampleRate", positive(track["sampleRate"])),
    ...optional("channels", positive(track["channels"])),
    ...optional("bitrate", positive(track["bitrate"])),
    ...optional("init", typeof init === "string" ? decodeBase64(init, name) : undefined),
    ...optional("initTrack", typeof track["initTrack"] === "string" ? track["initTrack"] : undefined),
  };
}

function optional<K extends keyof CatalogTrack>(
  key: K,
  value: CatalogTrack[K] | undefined,
): Pick<CatalogTrack, K> | object {
  return value === undefined ? {} : { [key]: value };
}

function positive(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) && value > 0 ? value : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** Bytes of standard base64. `what` names the source in the error. */
export function decodeBase64(base64: string, what: string): Uint8Array {
  try {
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    throw new CatalogError(`${what}: not base64`);
  }
}

/** MIME type that MSE wants for a track. */
export function mimeType(track: Pick<CatalogTrack, "kind" | "codec">): string {
  return `${track.kind}/mp4; codecs="${track.codec}"`;
}

/** What a viewer plays: one video and one audio rendition, either of which may be missing. */
export interface Selection {
  readonly video?: CatalogTrack;
  readonly audio?: CatalogTrack;
}

/**
 * The renditions to play: the named video rendition, else the best one that `supported` accepts; the first such audio.
 * Best is the largest picture, then the highest bit rate.
 */
export function selectTracks(
  catalog: Catalog,
  wanted: string | undefined,
  supported: (mime: string) => boolean,
): Selection {
  const playable = catalog.tracks.filter((track) => supported(mimeType(track)));
  const videos = playable
    .filter((track) => track.kind === "video")
    .sort((a, b) => (b.height ?? 0) - (a.height ?? 0) || (b.bitrate ?? 0) - (a.bitrate ?? 0));
  const video = videos.find((track) => track.name === wanted) ?? videos[0];
  const audio = playable.find((track) => track.kind === "audio");
  return { ...(video === undefined ? {} : { video }), ...(audio === undefined ? {} : { audio }) };
}
