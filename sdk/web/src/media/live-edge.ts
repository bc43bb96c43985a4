/** Bounds of the playback delay behind the live edge, seconds. */
export interface LiveEdgeLimits {
  /** Least delay, for a path without any jitter. */
  readonly targetMin: number;
  /** Most delay that jitter or stalls may ask for. */
  readonly targetMax: number;
}

/** 80 ms carries two frames of 25 fps; a second of jitter is a path without real-time hope. */
export const LIVE_EDGE_LIMITS: LiveEdgeLimits = { targetMin: 0.08, targetMax: 1.0 };

/** What the player should do now. */
export type LiveAction =
  | { readonly kind: "rate"; readonly rate: number }
  /** Jump to media time `to` (seconds): too far behind to catch up by playing faster, or in a hole. */
  | { readonly kind: "seek"; readonly to: number };

/** Arrivals of this age count for the edge and for jitter, seconds. */
const WINDOW_S = 8;
const SAMPLES_MAX = 2048;
/** Share of arrivals that have to be in time without a stall. */
const IN_TIME_QUANTILE = 0.99;
/** A place to jump to has to leave this much before the end of what is buffered, seconds. */
const SEEK_MARGIN_S = 0.02;
/**
 * A stall adds this to the target at once, the next one as much again as there is, and each as much as the picture stood
 * still: a machine that is too slow for its target is so all the time. What was added fades by the rate a second.
 */
const STALL_PENALTY_S = 0.1;
const STALL_PENALTY_MAX_S = 0.5;
const STALL_FADE_PER_S = 0.005;
/** Nudging begins over the first distance from the target and ends under the second. */
const NUDGE_START_S = 0.045;
const NUDGE_STOP_S = 0.012;
/** Further from its target than this, the player jumps: nudging would take five seconds and more. */
const SEEK_BEHIND_S = 0.6;
/** A jump costs a pipeline's start, so the next one waits for this long, seconds. */
const SEEK_EVERY_S = 2;
/** Playback rates: pitch is preserved by the browser, and these steps stay unheard. */
const RATE_FAST_MAX = 1.12;
const RATE_SLOW_MIN = 0.95;
/** Distance that calls for the largest step. */
const FULL_STEP_S = 0.4;

interface Arrival {
  readonly at: number;
  /** Arrival time minus media end: smaller is earlier. */
  readonly lag: number;
  readonly counts: boolean;
}

/** Lags of one track's chunks over the last seconds. */
class ArrivalLine {
  readonly #arrivals: Arrival[] = [];
  /** Longest chunk in the window, seconds. */
  chunk = 0;

  add(arrival: Arrival, duration: number): void {
    this.#arrivals.push(arrival);
    this.chunk = Math.max(this.chunk * 0.999, duration);
    while (this.#arrivals.length > SAMPLES_MAX || arrival.at - (this.#arrivals[0]?.at ?? arrival.at) > WINDOW_S) {
      this.#arrivals.shift();
    }
  }

  /** Lag of the fastest arrival: the line that the live edge moves on. */
  base(): number | undefined {
    return this.#arrivals.length === 0 ? undefined : Math.min(...this.#arrivals.map(({ lag }) => lag));
  }

  /** How much later than the fastest one the given share of chunks came. */
  jitter(): number {
    const lags = this.#arrivals.filter(({ counts }) => counts).map(({ lag }) => lag);
    lags.sort((a, b) => a - b);
    const late = lags[Math.min(lags.length - 1, Math.floor(lags.length * IN_TIME_QUANTILE))];
    return late === undefined ? 0 : Math.max(0, late - (this.base() ?? late));
  }
}

/**
 * Where the live edge is, how far behind it to play, and how to get there. Pure arithmetic over times in seconds;
 * `now` is any clock that runs evenly.
 *
 * Every track draws a line: media end of a chunk over its arrival; the fastest arrivals of the last seconds are the
 * edge, for they are what the path can do. A chunk has to be there until the next one comes, so the delay has to
 * cover the longest chunk, the jitter of arrivals and the renderer.
 */
export class LiveEdge {
  readonly #limits: LiveEdgeLimits;
  readonly #margins: Readonly<Record<string, number>>;
  readonly #lines = new Map<string, ArrivalLine>();
  #penalty = 0;
  #penaltyAt = 0;
  /** The stall that lasts, and what was added to the target before it. */
  #stall: { readonly at: number; readonly before: number } | undefined;
  #nudging = false;
  #soughtAt = -Infinity;

  /** `margins`: media that each track's renderer wants ahead of it, seconds. */
  constructor(margins: Readonly<Record<string, number>>, limits: LiveEdgeLimits = LIVE_EDGE_LIMITS) {
    this.#margins = margins;
    this.#limits = limits;
  }

  /** A chunk of `track` that ends at `mediaEnd` came at `now`. `fetched`: by the joining fetch, old by its nature. */
  arrived(track: string, now: number, mediaEnd: number, duration: number, fetched: boolean): void {
    let line = this.#lines.get(track);
    if (line === undefined) {
      line = new ArrivalLine();
      this.#lines.set(track, line);
    }
    line.add({ at: now, lag: now - mediaEnd, counts: !fetched }, duration);
  }

  /** The picture stands still for want of media. */
  stalled(now: number): void {
    const before = this.#penaltyNow(now);
    this.#punish(now, before + Math.max(before, STALL_PENALTY_S));
    this.#stall = { at: now, before };
  }

  /** The picture moves again after a stall. */
  resumed(now: number): void {
    if (this.#stall !== undefined) {
      const { at, before } = this.#stall;
      this.#stall = undefined;
      const lasted = now - at;
      // What no delay could have covered is an outage and teaches nothing about the path.
      const learned = lasted <= this.#limits.targetMax ? lasted : 0;
      this.#punish(now, Math.max(this.#penaltyNow(now), before + learned));
    }
  }

  #punish(now: number, penalty: number): void {
    this.#penalty = Math.min(STALL_PENALTY_MAX_S, penalty);
    this.#penaltyAt = now;
  }

  /** Media time at the live edge, seconds; undefined before anything came. */
  edge(now: number): number | undefined {
    const bases = [...this.#lines.values()].map((line) => line.base()).filter((base) => base !== undefined);
    return bases.length === 0 ? undefined : now - Math.max(...bases);
  }

  /** Delay to keep behind the edge, seconds. */
  target(now: number): number {
    const needs = [...this.#lines].map(([track, line]) => line.chunk + line.jitter() + (this.#margins[track] ?? 0));
    const wanted = Math.max(this.#limits.targetMin, ...needs) + this.#penaltyNow(now);
    return Math.min(this.#limits.targetMax, wanted);
  }

  /** Delay of `position` behind the edge, seconds. */
  delay(now: number, position: number): number | undefined {
    const edge = this.edge(now);
    return edge === undefined ? undefined : edge - position;
  }

  /** What to do at `position`, with media buffered without a hole up to `bufferedEnd`. */
  decide(now: number, position: number, bufferedEnd: number): LiveAction {
    const delay = this.delay(now, position);
    if (delay === undefined) {
      return { kind: "rate", rate: 1 };
    }
    const target = this.target(now);
    const error = delay - target;
    const to = Math.min(position + error, bufferedEnd - SEEK_MARGIN_S);
    const rested = now - this.#soughtAt > SEEK_EVERY_S;
    if (error > SEEK_BEHIND_S && rested && to - position > SEEK_BEHIND_S / 2) {
      this.#nudging = false;
      this.#soughtAt = now;
      return { kind: "seek", to };
    }
    this.#nudging = Math.abs(error) > (this.#nudging ? NUDGE_STOP_S : NUDGE_START_S);
    return { kind: "rate", rate: this.#nudging ? nudge(error) : 1 };
  }

  #penaltyNow(now: number): number {
    return Math.max(0, this.#penalty - (now - this.#penaltyAt) * STALL_FADE_PER_S);
  }
}

/** Rate for an error in seconds, in steps of a hundredth, so that it is not set anew on every tick. */
function nudge(error: number): number {
  const share = Math.max(-1, Math.min(1, error / FULL_STEP_S));
  const rate = share > 0 ? 1.02 + share * (RATE_FAST_MAX - 1.02) : 0.98 + share * (0.98 - RATE_SLOW_MIN);
  return Math.round(rate * 100) / 100;
}
