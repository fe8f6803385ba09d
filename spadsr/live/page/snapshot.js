// A picture of the three panels with their names above and words below, as a PNG file.

const [WIDTH, GAP, LINE] = [640, 8, 34];
const FONT = "14px system-ui, sans-serif";

/** Draws the panels as they are seen into one picture, and saves it. */
export function savePicture(panels, view, tone, words) {
  const shown = panels.filter((panel) => panel.picture);
  if (!shown.length) return;
  const { width, height } = shown[0].canvas;
  const tall = Math.round((WIDTH * height) / width);
  const picture = Object.assign(document.createElement("canvas"), { width: shown.length * (WIDTH + GAP) - GAP, height: tall + 2 * LINE });
  const plain = picture.getContext("2d");
  plain.fillStyle = "white";
  plain.fillRect(0, 0, picture.width, picture.height);
  plain.imageSmoothingEnabled = false;
  plain.fillStyle = "black";
  shown.forEach((panel, index) => {
    const left = index * (WIDTH + GAP);
    plain.font = `bold ${FONT}`;
    plain.fillText(panel.name, left + 6, 22);
    panel.draw(view, tone);
    plain.drawImage(panel.canvas, left, LINE, WIDTH, tall);
  });
  plain.font = FONT;
  plain.fillText(words, 6, tall + LINE + 22, picture.width - 12);
  picture.toBlob((blob) => {
    const address = URL.createObjectURL(blob);
    const name = `spadsr-${new Date().toISOString().replace(/[:.]/g, "-")}.png`;
    Object.assign(document.createElement("a"), { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });
}
