/**
 * Wall-clock time as a row of black and white cells across the top of a picture, so that a viewer can tell how old
 * the picture is that it sees:
 *
 *     cells 0-1    white, black: what white and black look like after the codec
 *     cells 2-33   Unix time in milliseconds modulo 2^32, highest bit first, white is 1
 *     cells 34-41  check: XOR of the four bytes and 0x5a
 *     cells 42-47  black, white, black, white, white, black: the row is really there
 */
export const WIDTH = 640;
export const HEIGHT = 360;
export const CELLS = 48;
export const CELL_WIDTH = 13;
export const STRIP_HEIGHT = 24;

const HEAD = "10";
const TAIL = "010110";
const CHECK_SEED = 0x5a;

function check(value) {
  return (value >>> 24) ^ ((value >>> 16) & 0xff) ^ ((value >>> 8) & 0xff) ^ (value & 0xff) ^ CHECK_SEED;
}

/** The cells for a Unix time in milliseconds, as a string of 0 and 1. */
export function encodeClock(unixMs) {
  const value = Math.floor(unixMs) % 2 ** 32;
  const bits = value.toString(2).padStart(32, "0") + check(value).toString(2).padStart(8, "0");
  return HEAD + bits + TAIL;
}

/** The time in a row of cells, as Unix milliseconds near `nowMs`; undefined when it is no such row. */
export function decodeClock(cells, nowMs) {
  const value = Number.parseInt(cells.slice(2, 34), 2);
  const sum = Number.parseInt(cells.slice(34, 42), 2);
  if (cells.length !== CELLS || !cells.startsWith(HEAD) || !cells.endsWith(TAIL) || check(value) !== sum) {
    return undefined;
  }
  const turns = Math.round((nowMs - value) / 2 ** 32);
  return value + turns * 2 ** 32;
}
