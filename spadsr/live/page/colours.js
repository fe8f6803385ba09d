// Colours of a panel: maps of even perceived steps (viridis, inferno, cividis: 33 points of the ones in matplotlib, CC0),
// and plain grey. A value from 0 to 1 is one of 256 colours.

const POINTS = {
  grey: ["000000", "ffffff"],
  viridis: [
    "440154", "470d60", "48186a", "482374", "472d7b", "453781", "424086", "3e4989", "3b528b", "375b8d", "33638d",
    "2f6b8e", "2c728e", "297a8e", "26828e", "23898e", "21918c", "1f988b", "1fa088", "22a785", "28ae80", "32b67a",
    "3fbc73", "4ec36b", "5ec962", "70cf57", "84d44b", "98d83e", "addc30", "c2df23", "d8e219", "ece51b", "fde725",
  ],
  inferno: [
    "000004", "040312", "0b0724", "150b37", "210c4a", "2f0a5b", "3d0965", "4a0c6b", "57106e", "64156e", "71196e",
    "7d1e6d", "8a226a", "972766", "a32c61", "b0315b", "bc3754", "c73e4c", "d24644", "db503b", "e45a31", "eb6628",
    "f1731d", "f68013", "f98e09", "fb9d07", "fcac11", "fbbc21", "f9cb35", "f5db4c", "f2ea69", "f3f68a", "fcffa4",
  ],
  cividis: [
    "00224e", "00285b", "002e6a", "053371", "1a386f", "273e6e", "32436d", "3b496c", "434e6c", "4b546c", "535a6d",
    "5a5f6e", "61656f", "686a71", "6f7073", "767676", "7d7c78", "848279", "8c8878", "938e78", "9b9476", "a39a74",
    "aba072", "b4a76f", "bcae6c", "c4b468", "cdbb63", "d5c25e", "dec958", "e7d150", "f0d846", "f9e03a", "fee838",
  ],
};

/** Names of the maps. */
export const COLOURS = Object.keys(POINTS);

/** 256 colours of the map `name`, as bytes red, green, blue, 255. */
export function colourTable(name) {
  const points = POINTS[name].map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const table = new Uint8Array(4 * 256);
  for (let level = 0; level < 256; level++) {
    const place = (level / 255) * (points.length - 1);
    const below = Math.min(Math.floor(place), points.length - 2);
    for (let channel = 0; channel < 3; channel++) {
      const [low, high] = [points[below][channel], points[below + 1][channel]];
      table[4 * level + channel] = Math.round(low + (place - below) * (high - low));
    }
    table[4 * level + 3] = 255;
  }
  return table;
}
