// Detection in whole images and in tiles, by the rules of lib/inference/tiles.py. A box is [x1, y1, x2, y2] in pixels.

const roundToEven = x => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

// Where tiles begin that are evenly spread over a length.
function starts(length, side, overlap) {
  if (length <= side) return [0];
  const count = Math.ceil((length - side) / (side * (1 - overlap))) + 1;
  return Array.from({ length: count }, (_, i) => roundToEven(i * ((length - side) / (count - 1))));
}

// The windows of an image: first the whole one, then tiles of [height, width], or none where `tile` is null.
function windowsOf(height, width, tile, overlap) {
  const whole = [0, 0, width, height];
  if (!tile || (height <= tile[0] && width <= tile[1])) return [whole];
  const [tall, wide] = [Math.min(tile[0], height), Math.min(tile[1], width)];
  const rows = starts(height, tile[0], overlap), columns = starts(width, tile[1], overlap);
  return [whole, ...rows.flatMap(y => columns.map(x => [x, y, x + wide, y + tall]))];
}

// Whether the border of its window may have cut an object: a border beyond which the image goes on.
function isCut(box, window, height, width, margin) {
  const near = margin * Math.max(window[2] - window[0], window[3] - window[1]);
  const isInner = [window[0] > 0, window[1] > 0, window[2] < width, window[3] < height];
  return box.some((value, i) => isInner[i] && Math.abs(value - window[i]) <= near);
}

// The intersection of two boxes over the area of the smaller one.
function overlapOfSmaller(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]), height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  return (width * height) / Math.min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]));
}

// One detection an object, of those of all windows: whole boxes come before cut ones, then the higher score. Boxes of
// one window never replace each other.
function merge(found, threshold) {
  const kept = [];
  for (const one of [...found].sort((a, b) => a.cut - b.cut || b.score - a.score))
    if (!kept.some(other => other.label === one.label && other.window !== one.window &&
                            overlapOfSmaller(other.box, one.box) > threshold))
      kept.push(one);
  return kept.sort((a, b) => b.score - a.score);
}

// The pixels of a canvas's window as the model takes them: (1, height, width, 3) uint8 BGR.
function pixelsOf(context, [x1, y1, x2, y2]) {
  const { data } = context.getImageData(x1, y1, x2 - x1, y2 - y1);
  const pixels = new Uint8Array((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
    pixels[to] = data[from + 2];
    pixels[to + 1] = data[from + 1];
    pixels[to + 2] = data[from];
  }
  return new ort.Tensor("uint8", pixels, [1, y2 - y1, x2 - x1, 3]);
}

// What the model finds in one window, in the frame of the image.
async function detectWindow(context, window, number, rules) {
  const { width, height } = context.canvas;
  const out = await session.run({ images: pixelsOf(context, window) });
  return Array.from({ length: Number(out.counts.data[0]) }, (_, row) => {
    const box = Array.from(out.boxes.data.subarray(4 * row, 4 * row + 4), (value, i) => value + window[i % 2]);
    const cut = isCut(box, window, height, width, rules.cutMargin);
    return { box, score: out.scores.data[row], label: Number(out.labels.data[row]), window: number, cut };
  });
}

// The objects of the image on a canvas, by falling score. `onWindow(done, all)` is called after each window; the search
// ends, with null, when it returns false.
async function detectAll(context, tile, rules, onWindow) {
  const { width, height } = context.canvas, windows = windowsOf(height, width, tile, rules.overlap), found = [];
  for (const [number, window] of windows.entries()) {
    found.push(...(await detectWindow(context, window, number, rules)));
    if (!(await onWindow(number + 1, windows.length))) return null;
  }
  return windows.length > 1 ? merge(found, rules.threshold) : found;
}
