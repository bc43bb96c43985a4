/** The parts of go-live.html that the page moves, by their `data-ref`. */
export interface Elements {
  readonly stage: HTMLElement;
  readonly preview: HTMLVideoElement;
  readonly empty: HTMLElement;
  readonly liveTime: HTMLElement;
  readonly status: HTMLElement;
  readonly statusTitle: HTMLElement;
  readonly statusText: HTMLElement;
  readonly form: HTMLFormElement;
  readonly source: HTMLFieldSetElement;
  readonly chooseCamera: HTMLButtonElement;
  readonly chooseScreen: HTMLButtonElement;
  readonly cameraRow: HTMLElement;
  readonly camera: HTMLSelectElement;
  readonly microphone: HTMLSelectElement;
  readonly meter: HTMLElement;
  readonly mute: HTMLButtonElement;
  readonly key: HTMLInputElement;
  readonly reveal: HTMLButtonElement;
  readonly go: HTMLButtonElement;
  readonly bitrate: HTMLElement;
  readonly picture: HTMLElement;
  readonly framerate: HTMLElement;
  readonly behind: HTMLElement;
  readonly fineprint: HTMLElement;
}
