import { type ByteReader, ByteWriter, text, utf8 } from "./bytes.ts";
import { WireError } from "./errors.ts";

/** Bounds of MoQT-18 §2.4.1. */
const NAMESPACE_FIELDS_MAX = 32;
const FULL_NAME_LEN_MAX = 4096;

/** Fields of a track namespace. This system's are UTF-8: (`stream`, org, id). */
export type Namespace = readonly string[];

/** An object's place in its track. */
export interface Location {
  readonly group: number;
  readonly object: number;
}

export function sameNamespace(a: Namespace, b: Namespace): boolean {
  return a.length === b.length && a.every((field, i) => field === b[i]);
}

export function encodeNamespace(out: ByteWriter, namespace: Namespace): ByteWriter {
  out.vi64(namespace.length);
  for (const field of namespace) {
    out.prefixed(utf8(field));
  }
  return out;
}

export function decodeNamespace(body: ByteReader): Namespace {
  const count = body.vi64("number of namespace fields");
  if (count > BigInt(NAMESPACE_FIELDS_MAX)) {
    throw new WireError(`namespace of ${count} fields, ${NAMESPACE_FIELDS_MAX} are allowed`);
  }
  const fields: string[] = [];
  let length = 0;
  for (let i = 0n; i < count; i += 1n) {
    const field = body.prefixed("namespace field", FULL_NAME_LEN_MAX);
    length += field.length;
    if (field.length === 0) {
      throw new WireError("empty namespace field");
    }
    fields.push(text(field));
  }
  if (length > FULL_NAME_LEN_MAX) {
    throw new WireError(`namespace of ${length} bytes, ${FULL_NAME_LEN_MAX} are allowed`);
  }
  return fields;
}

export function decodeTrackName(body: ByteReader): string {
  return text(body.prefixed("track name", FULL_NAME_LEN_MAX));
}

export function encodeLocation(out: ByteWriter, location: Location): ByteWriter {
  return out.vi64(location.group).vi64(location.object);
}

export function decodeLocation(body: ByteReader, what: string): Location {
  return { group: body.number(`group of ${what}`), object: body.number(`object of ${what}`) };
}
