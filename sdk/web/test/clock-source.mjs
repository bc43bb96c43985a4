/**
 * A camera that films the clock: raw yuv420p frames, 640x360 at 30 a second, on standard output, paced by wall time.
 * Every frame carries the moment of its making (support/clock-pattern.mjs). To publish it with low delay:
 *
 *     node clock-source.mjs | ffmpeg -v error -f rawvideo -pix_fmt yuv420p -s 640x360 -r 30 -i - \
 *       -c:v libx264 -preset ultrafast -tune zerolatency -g 60 -keyint_min 60 -sc_threshold 0 -b:v 2M \
 *       -flush_packets 1 -f flv rtmp://127.0.0.1:1935/live/<key>
 *
 * With sound: `-f lavfi -i sine=frequency=440:sample_rate=48000` after the first input, and `-c:a aac -ar 48000`.
 * `--seconds N` ends it after N seconds; otherwise it ends when nobody reads any more.
 */
import { parseArgs } from "node:util";
import { CELL_WIDTH, HEIGHT, STRIP_HEIGHT, WIDTH, encodeClock } from "./support/clock-pattern.mjs";

const FPS = 30;
const BLACK = 16;
const WHITE = 235;
const LUMA_LEN = WIDTH * HEIGHT;

const { values } = parseArgs({ options: { seconds: { type: "string" } } });
const frames = Number(values.seconds ?? Infinity) * FPS;

/** A soft ramp that moves by `shift`, under a strip with the cells. */
function draw(frame, shift, cells) {
  for (let y = STRIP_HEIGHT; y < HEIGHT; y += 1) {
    const row = y * WIDTH;
    for (let x = 0; x < WIDTH; x += 1) {
      const wave = (x + y + shift) & 0xff;
      frame[row + x] = 48 + ((wave < 128 ? wave : 255 - wave) >> 1);
    }
  }
  const strip = Buffer.alloc(WIDTH, BLACK);
  [...cells].forEach((cell, i) => strip.fill(cell === "1" ? WHITE : BLACK, i * CELL_WIDTH, (i + 1) * CELL_WIDTH));
  for (let y = 0; y < STRIP_HEIGHT; y += 1) {
    strip.copy(frame, y * WIDTH);
  }
}

function makeFrame(n) {
  const frame = Buffer.alloc((LUMA_LEN * 3) / 2, 128);
  draw(frame, n * 2, encodeClock(Date.now()));
  return frame;
}

process.stdout.on("error", () => process.exit(0));
const begin = performance.now();
for (let n = 0; n < frames; n += 1) {
  const wait = begin + (n * 1000) / FPS - performance.now();
  if (wait > 0) {
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
  // A late frame is sent at once, with its own time: the reader counts frames, so none may be left out.
  if (!process.stdout.write(makeFrame(n))) {
    await new Promise((resolve) => process.stdout.once("drain", resolve));
  }
}
