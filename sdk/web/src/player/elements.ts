/** The parts of watch.html that the player moves, by their `data-ref`. */
export interface Elements {
  readonly stage: HTMLElement;
  readonly video: HTMLVideoElement;
  readonly latencyBadge: HTMLElement;
  readonly notice: HTMLElement;
  readonly noticeTitle: HTMLElement;
  readonly noticeText: HTMLElement;
  readonly noticeAction: HTMLButtonElement;
  readonly noticeIconMark: SVGPathElement;
  readonly bigPlay: HTMLButtonElement;
  readonly unmute: HTMLButtonElement;
  readonly playPause: HTMLButtonElement;
  readonly mute: HTMLButtonElement;
  readonly volume: HTMLInputElement;
  readonly pip: HTMLButtonElement;
  readonly fullscreen: HTMLButtonElement;
  readonly latency: HTMLElement;
  readonly bitrate: HTMLElement;
  readonly buffer: HTMLElement;
  readonly rendition: HTMLElement;
  readonly fineprint: HTMLElement;
}

/** Finds every part under `root`; throws when the page lacks one. */
export function findElements(root: ParentNode): Elements {
  const find = (_: object, ref: string): Element => {
    const element = root.querySelector(`[data-ref="${ref}"]`);
    if (element === null) {
      throw new Error(`the page has no element with data-ref="${ref}"`);
    }
    return element;
  };
  return new Proxy({} as Elements, { get: (target, ref) => find(target, String(ref)) });
}
