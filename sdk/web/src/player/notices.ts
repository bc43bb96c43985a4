import type { ViewerError, ViewerState } from "../viewer/types.ts";

/** What the middle of the picture says while there is none. */
export interface Notice {
  readonly tone: "busy" | "calm" | "done" | "problem";
  readonly title: string;
  readonly text: string;
  /** Label of the one thing to do, if there is any. */
  readonly action?: string;
}

/** Words for a state; undefined while the picture speaks for itself. `played`: there was a picture before. */
export function noticeFor(state: ViewerState, error: ViewerError | undefined, played: boolean): Notice | undefined {
  switch (state) {
    case "idle":
    case "connecting":
      return { tone: "busy", title: "Connecting", text: "" };
    case "buffering":
      return { tone: "busy", title: "Joining the broadcast", text: "" };
    case "waiting":
      return {
        tone: "calm",
        title: "Waiting for the broadcaster",
        text: played
          ? "The broadcast was interrupted. This page goes on playing by itself as soon as it is back."
          : "The broadcast has not started yet. This page starts playing by itself as soon as it does.",
      };
    case "no_key_frame":
      return {
        tone: "calm",
        title: "Waiting for a key frame",
        text: played
          ? "A part of the broadcast was lost. This page plays on by itself as soon as the next key frame comes."
          : "The broadcast is on, but nobody can join it before its next key frame. This page starts playing by itself as soon as one comes.",
      };
    case "stalled":
      return { tone: "busy", title: "", text: "" };
    case "reconnecting":
      return {
        tone: "busy",
        title: "Reconnecting",
        text: "The connection was interrupted. Playback resumes by itself.",
      };
    case "playing":
      return undefined;
    case "ended":
      return { tone: "done", title: "The broadcast has ended", text: "Thank you for watching.", action: "Check again" };
    case "failed":
      return error === undefined ? undefined : problem(error);
  }
}

function problem(error: ViewerError): Notice {
  switch (error.kind) {
    case "auth":
      return authNotice(error.message);
    case "unsupported":
      return {
        tone: "problem",
        title: "This browser cannot play the broadcast",
        text: `Please open this page in a current Chrome or Edge: ${error.message}.`,
      };
    default:
      return { tone: "problem", title: "Playback stopped", text: error.message, action: "Try again" };
  }
}

/** Reason of an `auth` error for a link without a token. */
export const TOKEN_MISSING = "token missing";

/** The server's reason begins with `auth_failed`; what follows tells an old link from a wrong one. */
function authNotice(reason: string): Notice {
  if (reason === TOKEN_MISSING) {
    return {
      tone: "problem",
      title: "This link is incomplete",
      text: "Its access token is missing. Open the full link as it was shared.",
    };
  }
  const fresh = "Ask whoever shared it for a new one.";
  if (/expired/i.test(reason)) {
    return {
      tone: "problem",
      title: "This link has expired",
      text: `Playback links are valid for a limited time. ${fresh}`,
    };
  }
  if (/revoked/i.test(reason)) {
    return {
      tone: "problem",
      title: "This link has been revoked",
      text: `It no longer gives access to the broadcast. ${fresh}`,
    };
  }
  return { tone: "problem", title: "This link is not valid", text: `Its access token was refused. ${fresh}` };
}
