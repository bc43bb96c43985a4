import type { PublisherError, PublisherState } from "../publish/types.ts";

/** What the page says of where the broadcast is. */
export interface Words {
  readonly tone: "calm" | "busy" | "live" | "problem";
  readonly title: string;
  readonly text: string;
}

/** Words for a state, and for what went wrong in it. */
export function wordsFor(state: PublisherState, error: PublisherError | undefined): Words {
  switch (state) {
    case "idle":
      return { tone: "calm", title: "Ready", text: "Nobody sees you until you go live." };
    case "connecting":
      return { tone: "busy", title: "Connecting", text: "" };
    case "live":
      return { tone: "live", title: "You are live", text: "Viewers see and hear what you see here." };
    case "reconnecting":
      return {
        tone: "busy",
        title: "Server not reachable",
        text: `Trying again by itself (${error?.message ?? "connection lost"}).`,
      };
    case "ended":
      return { tone: "calm", title: "The broadcast has ended", text: "You can go live again." };
    case "failed":
      return problem(error);
  }
}

function problem(error: PublisherError | undefined): Words {
  const tone = "problem";
  switch (error?.kind) {
    case "auth_failed":
      return {
        tone,
        title: "The stream key was refused",
        text: "It is wrong or was changed, or the live input is switched off or deleted. Ask for the present key.",
      };
    case "other_kind":
      return {
        tone,
        title: "This live input does not take browsers",
        text: `The server says: ${error.message}. Create one of kind “fmp4” or “any”.`,
      };
    case "disabled":
      return { tone, title: "This live input is switched off", text: "Enable it, then go live again." };
    case "replaced":
      return { tone, title: "Somebody else is live", text: "Another encoder took over with the same stream key." };
    case "unreachable":
      return { tone, title: "Server not reachable", text: sentence(error.message) };
    case "unsupported":
      return { tone, title: "This browser cannot go live", text: `${sentence(error.message)} Chrome and Edge can.` };
    case "media":
      return { tone, title: "The source cannot be sent", text: sentence(error.message) };
    default:
      return { tone, title: "The broadcast failed", text: sentence(error?.message ?? "") };
  }
}

function sentence(text: string): string {
  return text === "" ? "" : `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;
}
