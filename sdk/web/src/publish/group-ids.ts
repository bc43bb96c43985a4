/**
 * Gives out group ids that grow over the broadcast and over reconnects: at least the Unix time in milliseconds, and always
 * more than the last. Video and audio draw from the same.
 */
export class GroupIds {
  #last = 0;

  next(unixMs: number): number {
    this.#last = Math.max(this.#last + 1, Math.floor(unixMs));
    return this.#last;
  }
}
