/** What is asked of a camera; it gives what it can that is nearest. */
const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
/** Text stays readable, and a page's encoder keeps up. */
const SCREEN = { width: { max: 1920 }, height: { max: 1080 }, frameRate: { ideal: 30, max: 30 } };

export type SourceKind = "camera" | "screen";

/** A device of the lists on the page. */
export interface Device {
  readonly id: string;
  readonly label: string;
}

export interface SourceChoice {
  readonly kind: SourceKind;
  /** Device ids; "" is the browser's choice, `undefined` for the microphone is none. */
  readonly camera: string;
  readonly microphone: string | undefined;
}

/** Opens what was chosen; the browser asks the user. Throws DOMException. */
export async function openSource({ kind, camera, microphone }: SourceChoice): Promise<MediaStream> {
  const audio = microphone === undefined ? false : { ...exactly(microphone), channelCount: { ideal: 2 } };
  if (kind === "camera") {
    return navigator.mediaDevices.getUserMedia({ video: { ...CAMERA, ...exactly(camera) }, audio });
  }
  const screen = await navigator.mediaDevices.getDisplayMedia({ video: SCREEN, audio: microphone === undefined });
  if (audio === false) {
    return screen;
  }
  try {
    const voice = await navigator.mediaDevices.getUserMedia({ audio });
    return new MediaStream([...screen.getVideoTracks(), ...voice.getAudioTracks()]);
  } catch (error) {
    closeSource(screen);
    throw error;
  }
}

function exactly(deviceId: string): MediaTrackConstraints {
  return deviceId === "" ? {} : { deviceId: { exact: deviceId } };
}

export function closeSource(media: MediaStream | undefined): void {
  media?.getTracks().forEach((track) => track.stop());
}

/** Cameras and microphones; their names are known once the user has allowed one of them. */
export async function listDevices(kind: "videoinput" | "audioinput"): Promise<readonly Device[]> {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter((device) => device.kind === kind && device.deviceId !== "")
    .map(({ deviceId, label }, i) => ({ id: deviceId, label: label === "" ? `Device ${i + 1}` : label }));
}

/** Why a source could not be opened, in words for the page. */
export function whyNoSource(error: unknown, kind: SourceKind): string {
  const name = error instanceof DOMException ? error.name : "";
  switch (name) {
    case "NotAllowedError":
      return kind === "camera"
        ? "The browser was not allowed to use the camera and microphone. Allow them in the address bar, and try again."
        : "Nothing was chosen to be shared.";
    case "NotFoundError":
      return kind === "camera" ? "There is no camera or microphone." : "There is nothing to share.";
    case "NotReadableError":
      return "Another program uses the camera or microphone.";
    case "OverconstrainedError":
      return "The chosen device is gone. Choose another one.";
    default:
      return `The source cannot be opened: ${error instanceof Error ? error.message : String(error)}`;
  }
}
