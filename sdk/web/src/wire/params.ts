import { type ByteReader, ByteWriter } from "./bytes.ts";
import { WireError } from "./errors.ts";
import { type Location, decodeLocation, encodeLocation } from "./names.ts";

/** How a parameter's value is written (MoQT-18 §10.2): the odd/even rule of key-value pairs does not hold here. */
type Encoding = "uint8" | "varint" | "location" | "bytes";

/** Message parameters that a viewer sends or receives: name -> code point and encoding (MoQT-18 §10.2.2 and on). */
const PARAMETERS = {
  objectDeliveryTimeoutMs: { id: 0x02, encoding: "varint" },
  authorizationToken: { id: 0x03, encoding: "bytes" },
  rendezvousTimeoutMs: { id: 0x04, encoding: "varint" },
  subgroupDeliveryTimeoutMs: { id: 0x06, encoding: "varint" },
  expiresMs: { id: 0x08, encoding: "varint" },
  largestObject: { id: 0x09, encoding: "location" },
  fillTimeoutMs: { id: 0x0a, encoding: "varint" },
  forward: { id: 0x10, encoding: "uint8" },
  subscriberPriority: { id: 0x20, encoding: "uint8" },
  subscriptionFilter: { id: 0x21, encoding: "bytes" },
  groupOrder: { id: 0x22, encoding: "uint8" },
  newGroupRequest: { id: 0x32, encoding: "varint" },
} as const satisfies Record<string, { id: number; encoding: Encoding }>;

export type ParameterName = keyof typeof PARAMETERS;

type Value<E extends Encoding> = E extends "location" ? Location : E extends "bytes" ? Uint8Array : number;

/** Parameters of one message by name; an absent one has the draft's default. */
export type Parameters = {
  readonly [N in ParameterName]?: Value<(typeof PARAMETERS)[N]["encoding"]>;
};

const NAMES = (Object.keys(PARAMETERS) as ParameterName[]).sort((a, b) => PARAMETERS[a].id - PARAMETERS[b].id);

/** Count, then the parameters in ascending order of type. */
export function encodeParameters(out: ByteWriter, parameters: Parameters): ByteWriter {
  const present = NAMES.filter((name) => parameters[name] !== undefined);
  out.vi64(present.length);
  let previous = 0;
  for (const name of present) {
    const { id, encoding } = PARAMETERS[name];
    out.vi64(id - previous);
    previous = id;
    encodeValue(out, encoding, parameters[name] as number | Location | Uint8Array);
  }
  return out;
}

function encodeValue(out: ByteWriter, encoding: Encoding, value: number | Location | Uint8Array): void {
  if (value instanceof Uint8Array) {
    out.prefixed(value);
  } else if (typeof value === "object") {
    encodeLocation(out, value);
  } else if (encoding === "uint8") {
    out.u8(value);
  } else {
    out.vi64(value);
  }
}

/**
 * The parameters of a message in which those of `scope` may appear. Unknown, repeated and misplaced ones are protocol
 * violations (MoQT-18 §10.2): an unknown one cannot even be skipped.
 */
export function decodeParameters(body: ByteReader, message: string, scope: readonly ParameterName[]): Parameters {
  const parameters: { [N in ParameterName]?: number | Location | Uint8Array } = {};
  const count = body.vi64(`number of parameters of ${message}`);
  let id = 0n;
  for (let i = 0n; i < count; i += 1n) {
    id += body.vi64("parameter type");
    const name = scope.find((known) => BigInt(PARAMETERS[known].id) === id);
    if (name === undefined) {
      throw new WireError(`parameter 0x${id.toString(16)} is not defined for ${message}`);
    }
    if (parameters[name] !== undefined && name !== "authorizationToken") {
      throw new WireError(`parameter ${name} is repeated in ${message}`);
    }
    parameters[name] = decodeValue(body, PARAMETERS[name].encoding, name);
  }
  return parameters as Parameters;
}

function decodeValue(body: ByteReader, encoding: Encoding, name: string): number | Location | Uint8Array {
  switch (encoding) {
    case "uint8":
      return body.u8(name);
    case "varint":
      return body.number(name);
    case "location":
      return decodeLocation(body, name);
    case "bytes":
      return body.prefixed(name, 0xffff);
  }
}
