/** Figures as the player shows them; a figure that is not known is a dash. */
export const NONE = "–";

export function milliseconds(value: number | undefined): string {
  if (value === undefined) {
    return NONE;
  }
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

export function bitrate(bitsPerSecond: number): string {
  if (bitsPerSecond <= 0) {
    return NONE;
  }
  return bitsPerSecond < 1e6
    ? `${Math.round(bitsPerSecond / 1e3)} kbit/s`
    : `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s`;
}

/** `720p` out of `video/720p`. */
export function rendition(name: string | undefined): string {
  return name?.split("/").at(-1) ?? NONE;
}

/** Size of the picture in pixels, for a tooltip. */
export function pictureSize(width: number, height: number): string {
  return width > 0 && height > 0 ? `${width} × ${height}` : "";
}
