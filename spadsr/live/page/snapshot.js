// A picture of the three panels with words below, as a PNG file.

const [WIDTH, GAP, LINE] = [640, 8, 34];

/** Draws the panels as they are seen into one picture, and saves it. */
export function savePicture(panels, view, tone, words) {
  const shown = panels.filter((panel) => panel.picture);
  if (!shown.length) return;
  const { width, height } = shown[0].canvas;
  const tall = Math.round((WIDTH * height) / width);
  const picture = Object.assign(document.createElement("canvas"), { width: shown.length * (WIDTH + GAP) - GAP, height: tall + LINE });
  const plain = picture.getContext("2d");
  plain.fillStyle = "white";
  plain.fillRect(0, 0, picture.width, picture.height);
  plain.imageSmoothingEnabled = false;
  shown.forEach((panel, index) => {
    panel.draw(view, tone);
    plain.drawImage(panel.canvas, index * (WIDTH + GAP), 0, WIDTH, tall);
  });
  plain.fillStyle = "black";
  plain.font = "14px system-ui, sans-serif";
  plain.fillText(words, 6, tall + 22, picture.width - 12);
  picture.toBlob((blob) => {
    const address = URL.createObjectURL(blob);
    const name = `spadsr-${new Date().toISOString().replace(/[:.]/g, "-")}.png`;
    Object.assign(document.createElement("a"), { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });
}
