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

/** The parts under `root` by their `data-ref`, each looked up when it is used; one that the page lacks throws. */
export function findElements<E extends object = Elements>(root: ParentNode): E {
  const find = (ref: string): Element => {
    const element = root.querySelector(`[data-ref="${ref}"]`);
    if (element === null) {
      throw new Error(`the page has no element with data-ref="${ref}"`);
    }
    return element;
  };
  return new Proxy({} as E, { get: (_, ref) => find(String(ref)) });
}
