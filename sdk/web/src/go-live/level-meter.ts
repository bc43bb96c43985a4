/** What the meter shows as silence, in decibels below full scale. */
const SILENCE_DB = -60;
/** How fast the bar falls, in parts of its length a picture of the screen; it rises at once. */
const FALL = 0.02;

/** The loudness of a stream's sound, 0…1, told with each picture of the screen. */
export class LevelMeter {
  readonly #context = new AudioContext();
  readonly #analyser = this.#context.createAnalyser();
  readonly #samples: Float32Array<ArrayBuffer>;
  #level = 0;
  #frame: number;

  constructor(media: MediaStream, show: (level: number) => void) {
    this.#context.createMediaStreamSource(media).connect(this.#analyser);
    this.#samples = new Float32Array(this.#analyser.fftSize);
    const next = (): void => {
      this.#level = Math.max(this.#measure(), this.#level - FALL);
      show(this.#level);
      this.#frame = requestAnimationFrame(next);
    };
    this.#frame = requestAnimationFrame(next);
  }

  stop(): void {
    cancelAnimationFrame(this.#frame);
    void this.#context.close();
  }

  #measure(): number {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const power = this.#samples.reduce((sum, sample) => sum + sample * sample, 0) / this.#samples.length;
    const decibels = 10 * Math.log10(Math.max(power, 1e-10));
    return Math.min(1, Math.max(0, 1 - decibels / SILENCE_DB));
  }
}
