import type { StreamObject } from "../wire/data-events.ts";
import type { PublishDone, RequestError, SubscribeOk } from "../wire/messages.ts";

/** What happens to a subscribed track; called in the order of arrival. */
export interface TrackHandlers {
  established?(ok: SubscribeOk): void;
  /** `fetched`: by the joining fetch, hence older than the join. */
  object(object: StreamObject, fetched: boolean): void;
  /** A stream with objects of `group` was opened. */
  groupOpened?(group: number): void;
  /** A stream of `group` ended: `complete` by FIN (every object was sent), otherwise by reset. */
  groupClosed?(group: number, complete: boolean): void;
  /** The joining fetch is over: `complete`, or refused or cut. */
  fetched?(complete: boolean): void;
  refused(error: RequestError): void;
  done(done: PublishDone): void;
}

/** A live subscription; `cancel` may be called at any time and more than once. */
export interface Subscription {
  readonly requestId: number;
  cancel(): void;
}

/** What the session keeps of a subscription. */
export interface TrackState {
  readonly handlers: TrackHandlers;
  readonly requestId: number;
  cancelled: boolean;
}
