/**
 * Publishes Chromium's made-up camera and microphone by WHIP until it is interrupted; then it deletes the session.
 *
 *     node whip.mjs --url https://HOST:PORT/whip/ID --key STREAM_KEY --page URL
 *
 * The page is only there for its secure origin.
 */
import { parseArgs } from "node:util";
import { launchChromium } from "./support/chromium.mjs";

/** A camera without a camera, a certificate of nobody, and a path that never leaves the machine. */
const FLAGS = [
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  "--ignore-certificate-errors",
  "--allow-loopback-in-peer-connection",
];

const { values } = parseArgs({
  options: { url: { type: "string" }, key: { type: "string" }, page: { type: "string" } },
});
const browser = await launchChromium(FLAGS, false);
const context = await browser.newContext({ ignoreHTTPSErrors: true, bypassCSP: true });
await context.grantPermissions(["camera", "microphone"], { origin: new URL(values.page).origin });
const page = await context.newPage();
await page.goto(values.page);
await page.evaluate(async ({ url, key }) => {
  const media = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 }, audio: true });
  const connection = new RTCPeerConnection();
  for (const track of media.getTracks()) {
    const transceiver = connection.addTransceiver(track, { direction: "sendonly" });
    if (track.kind !== "video") continue;
    const codecs = RTCRtpSender.getCapabilities("video").codecs;
    transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => ["video/H264", "video/rtx"].includes(mimeType)));
  }
  await connection.setLocalDescription();
  const answer = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/sdp", Authorization: `Bearer ${key}` },
    body: connection.localDescription.sdp,
  });
  if (answer.status !== 201) throw new Error(`${answer.status}: ${await answer.text()}`);
  const session = new URL(answer.headers.get("Location"), url);
  await connection.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  connection.onicecandidate = ({ candidate }) => {
    if (!candidate) return;
    const ufrag = connection.localDescription.sdp.match(/a=ice-ufrag:(.*)/)[1].trim();
    void fetch(session, {
      method: "PATCH",
      headers: { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": answer.headers.get("ETag") },
      body: `a=ice-ufrag:${ufrag}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=${candidate.candidate}\r\n`,
    });
  };
  window.stopPublishing = async () => {
    await fetch(session, { method: "DELETE" });
    connection.close();
  };
}, values);
process.on("SIGINT", async () => {
  await page.evaluate(() => window.stopPublishing());
  await browser.close();
});
