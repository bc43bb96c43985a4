/** Pictures that are larger are made smaller: a page's encoder is to keep up with them. */
const HEIGHT_MAX = 1080;
const WIDTH_MAX = 1920;

/** Bits a pixel of camera and screen at 30 pictures a second, as a software encoder in its fast mode needs them. */
const BITS_PER_PIXEL = 0.085;
const BITRATE_MIN = 400_000;
const BITRATE_MAX = 6_000_000;

/** Profile (in the order of preference) and level of H.264: pixels a second that a level takes (H.264 table A-1). */
const LEVELS: readonly { readonly pixelsPerSecond: number; readonly idc: string }[] = [
  { pixelsPerSecond: 108_000 * 256, idc: "1F" },
  { pixelsPerSecond: 245_760 * 256, idc: "28" },
  { pixelsPerSecond: 522_240 * 256, idc: "2A" },
];
const HIGHEST_LEVEL = "33";
const PROFILES = ["6400", "4D40", "42E0"] as const;

export interface PictureSize {
  readonly width: number;
  readonly height: number;
}

/** The size to encode a picture in: within the largest, and even, for colour has half the resolution. */
export function encodedSize({ width, height }: PictureSize): PictureSize {
  const scale = Math.min(1, WIDTH_MAX / Math.max(width, height), HEIGHT_MAX / Math.min(width, height));
  const even = (side: number): number => Math.max(2, 2 * Math.round((side * scale) / 2 - 0.25));
  return { width: even(width), height: even(height) };
}

/** Bits a second that pictures of this size need. */
export function usualBitrate({ width, height }: PictureSize, framerate: number): number {
  const bitrate = width * height * framerate * BITS_PER_PIXEL;
  return Math.round(Math.min(BITRATE_MAX, Math.max(BITRATE_MIN, bitrate)));
}

/** What to ask an encoder for, best first: hardware in any profile, then whatever there is. */
export function encoderCandidates(size: PictureSize, framerate: number, bitrate: number): VideoEncoderConfig[] {
  const pixelsPerSecond = size.width * size.height * framerate;
  const level = LEVELS.find((known) => pixelsPerSecond <= known.pixelsPerSecond)?.idc ?? HIGHEST_LEVEL;
  const common = {
    ...size,
    framerate,
    bitrate,
    bitrateMode: "constant",
    latencyMode: "realtime",
    avc: { format: "avc" },
  } as const;
  const hardware = PROFILES.map((profile) => ({
    ...common,
    codec: `avc1.${profile}${level}`,
    hardwareAcceleration: "prefer-hardware" as const,
  }));
  return [...hardware, { ...common, codec: `avc1.42E0${level}`, hardwareAcceleration: "no-preference" }];
}

/** The first of `candidates` that this browser can encode. */
export async function supportedConfiguration(
  candidates: readonly VideoEncoderConfig[],
): Promise<VideoEncoderConfig | undefined> {
  for (const candidate of candidates) {
    const { supported } = await VideoEncoder.isConfigSupported(candidate);
    if (supported === true) {
      return candidate;
    }
  }
  return undefined;
}
