import { readFileSync } from "node:fs";

/** A script for a page: its camera films the clock of clock-pattern.mjs, beside the browser's own made-up microphone. */
export function clockCamera() {
  const pattern = readFileSync(new URL("./clock-pattern.mjs", import.meta.url), "utf8").replaceAll(/^export /gm, "");
  return `(() => { ${pattern}; (${install})({ WIDTH, HEIGHT, CELL_WIDTH, STRIP_HEIGHT, encodeClock }); })()`;
}

/** In the page. */
function install({ WIDTH, HEIGHT, CELL_WIDTH, STRIP_HEIGHT, encodeClock }) {
  const devices = navigator.mediaDevices;
  const own = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async ({ audio }) => {
    const sound = await own({ audio });
    const canvas = document.createElement("canvas");
    canvas.width = WIDTH;
    canvas.height = HEIGHT;
    const context = canvas.getContext("2d");
    let shift = 0;
    const draw = () => {
      shift = (shift + 4) % WIDTH;
      context.fillStyle = "#456";
      context.fillRect(0, 0, WIDTH, HEIGHT);
      context.fillStyle = "#89a";
      context.fillRect(shift, STRIP_HEIGHT + 20, 80, 200);
      const cells = encodeClock(performance.timeOrigin + performance.now());
      [...cells].forEach((cell, i) => {
        context.fillStyle = cell === "1" ? "#fff" : "#000";
        context.fillRect(i * CELL_WIDTH, 0, CELL_WIDTH, STRIP_HEIGHT);
      });
    };
    draw();
    setInterval(draw, 1000 / 30);
    return new MediaStream([...canvas.captureStream(30).getVideoTracks(), ...sound.getAudioTracks()]);
  };
}
