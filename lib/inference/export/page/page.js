// What the page does: a picture comes in, boxes come out.

const $ = id => document.getElementById(id);
const ROWS = 200; // of the table; the files to download have all
const ENLARGED_SIDE = 640; // pixels: pictures whose shorter side is under half of it are shown larger
const view = $("view"), source = document.createElement("canvas");
const pixels = source.getContext("2d", { willReadFrequently: true, alpha: false });
let ort, session, result = null, latest = 0;

const inflate = async (text, type) => {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Blob([await new Response(plain).arrayBuffer()], { type });
};

// ONNX Runtime and the model, both from inside of this page.
async function load() {
  const started = performance.now();
  const address = URL.createObjectURL(await inflate(RUNTIME.code, "text/javascript"));
  ort = await import(address);
  ort.env.wasm.numThreads = 1; // a page without a server may not share memory among threads
  ort.env.wasm.wasmBinary = await (await inflate(RUNTIME.binary)).arrayBuffer();
  const model = await (await inflate(MODEL)).arrayBuffer();
  session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  return performance.now() - started;
}
const loading = load();

const milliseconds = value => (value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en")) + " ms";
const color = label => ABOUT.colors[label - 1];
const name = label => ABOUT.classes[label - 1];
const shown = () => result.detections.filter(one => one.score >= $("threshold").valueAsNumber);

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

// The side of a tile that the user wants, or null; a model whose images keep their size has its own tiles.
function tileSize() {
  const side = $("tile").valueAsNumber;
  if (side >= 16) return [side, side];
  return ABOUT.tile;
}

// Finds the objects of a picture, a Blob or whatever createImageBitmap takes; shows them, and gives them back.
async function detect(picture, file = picture.name ?? "picture") {
  const run = ++latest;
  document.body.dataset.state = "busy";
  $("progress").hidden = false;
  $("progress").removeAttribute("value");
  try {
    say("Loading the model ...");
    await loading;
    const started = performance.now();
    const bitmap = await createImageBitmap(picture, { colorSpaceConversion: "none" });
    [source.width, source.height] = [bitmap.width, bitmap.height];
    pixels.drawImage(bitmap, 0, 0);
    const decoded = performance.now();
    let drawn = decoded, windows = 0;
    const detections = await detectAll(pixels, tileSize(), ABOUT.rules, async (done, all) => {
      windows = all;
      if (performance.now() - drawn > 50) { // lets the browser draw, and answer
        say(`Searching tile ${done} of ${all} ...`);
        $("progress").value = done / all;
        await new Promise(resolve => setTimeout(resolve));
        drawn = performance.now();
      }
      return run === latest;
    });
    if (!detections) return null; // another picture came
    const times = { decode: decoded - started, detect: performance.now() - decoded };
    result = { file, width: source.width, height: source.height, windows, times, detections };
    show();
    document.body.dataset.state = "done";
    return result;
  } catch (error) {
    if (run !== latest) return null;
    document.body.dataset.state = "failed";
    say(`${file} could not be used: ${error.message ?? error}`, true);
    return null;
  } finally {
    if (run === latest) $("progress").hidden = true;
  }
}

function show() {
  $("result").hidden = false;
  $("level").textContent = $("threshold").valueAsNumber.toFixed(2);
  const rows = shown();
  drawBoxes(rows);
  const counts = ABOUT.classes.map((_, i) => rows.filter(one => one.label === i + 1).length);
  const classes = counts.flatMap((count, i) => (count ? `${count} ${ABOUT.classes[i]}` : [])).join(", ");
  const { decode, detect } = result.times, { windows } = result;
  const tiles = windows > 1 ? ` (${windows} tiles, ${milliseconds(detect / windows)} each)` : "";
  $("summary").textContent = `${rows.length} object${rows.length === 1 ? "" : "s"}` + (classes && `: ${classes}`);
  say(`${result.file}, ${result.width} x ${result.height}. Read in ${milliseconds(decode)}, searched in ` +
      `${milliseconds(detect)}${tiles}.`);
  $("rows").replaceChildren(...rows.slice(0, ROWS).map(row));
  $("more").hidden = rows.length <= ROWS;
  $("more").textContent = `The table shows the first ${ROWS} of ${rows.length}; the downloads have them all.`;
}

function row(one) {
  const line = document.createElement("tr");
  const mark = document.createElement("i");
  mark.style.background = color(one.label);
  const texts = [name(one.label), one.score.toFixed(3), ...one.box.map(value => value.toFixed(1))];
  for (const text of texts) line.insertCell().textContent = text;
  line.cells[0].prepend(mark);
  return line;
}

function drawBoxes(rows) {
  const zoom = Math.max(1, Math.round(ENLARGED_SIDE / Math.min(source.width, source.height)));
  [view.width, view.height] = [zoom * source.width, zoom * source.height];
  const context = view.getContext("2d"), shrinking = $("fit").checked ? view.width / view.parentElement.clientWidth : 1;
  const scale = Math.max(1, shrinking) / zoom; // pixels of the picture in one of the screen
  context.scale(zoom, zoom);
  context.imageSmoothingEnabled = false;
  context.drawImage(source, 0, 0);
  context.lineWidth = 1.5 * scale;
  context.font = `${11 * scale}px system-ui, sans-serif`;
  context.textBaseline = "bottom";
  for (const { box: [x1, y1, x2, y2], label, score } of [...rows].reverse()) { // the surest box on top
    context.strokeStyle = context.fillStyle = color(label);
    context.strokeRect(x1 - scale, y1 - scale, x2 - x1 + 2 * scale, y2 - y1 + 2 * scale);
    if (!$("names").checked) continue;
    const text = `${name(label)} ${score.toFixed(2)}`, width = context.measureText(text).width + 4 * scale;
    const left = Math.min(x1 - 1.5 * scale, source.width - width);
    const height = 14 * scale, top = Math.max(y1 - scale, height);
    context.fillRect(left, top - height, width, height);
    context.fillStyle = "#000";
    context.fillText(text, left + 2 * scale, top);
  }
  view.setAttribute("aria-label", `${result.file} with ${rows.length} boxes`);
}

function save(content, ending) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = `${result.file.replace(/\.\w+$/, "")}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// The same fields as in the files that demo.py writes.
const rounded = one => ({ label: one.label, name: name(one.label), score: +one.score.toFixed(4),
                          box: one.box.map(value => +value.toFixed(2)) });
function asJson() {
  const { file, width, height } = result;
  return JSON.stringify([{ file, frame: 0, height, width, detections: shown().map(rounded) }], null, 1) + "\n";
}
function asCsv() {
  const quoted = text => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = shown().map(rounded).map(one => [quoted(result.file), 0, quoted(one.name), one.score, ...one.box]);
  const head = ["file", "frame", "name", "score", "x1", "y1", "x2", "y2"];
  return [head, ...lines].map(line => line.join(",") + "\r\n").join("");
}

function first(files) {
  const file = [...files].find(one => one.type.startsWith("image/"));
  if (file) detect(file);
}
$("open").onclick = () => $("file").click();
$("file").onchange = () => { first($("file").files); $("file").value = ""; };
document.ondragover = event => { event.preventDefault(); document.body.classList.add("over"); };
document.ondragleave = event => { if (!event.relatedTarget) document.body.classList.remove("over"); };
document.ondrop = event => {
  event.preventDefault();
  document.body.classList.remove("over");
  first(event.dataTransfer.files);
};
document.onpaste = event => first(event.clipboardData.files);
$("threshold").oninput = $("names").onchange = () => result && show();
$("fit").onchange = () => { view.classList.toggle("fit", $("fit").checked); show(); };
$("tile").onchange = () => { if (result) createImageBitmap(source).then(bitmap => detect(bitmap, result.file)); };
$("json").onclick = () => save(new Blob([asJson()], { type: "application/json" }), "json");
$("csv").onclick = () => save(new Blob([asCsv()], { type: "text/csv" }), "csv");
$("picture").onclick = () => view.toBlob(blob => save(blob, "boxes.png"));

const video = $("video");
$("camera").hidden = !navigator.mediaDevices?.getUserMedia;
$("camera").onclick = async () => {
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: 1920 } });
    $("shoot").showModal();
  } catch (error) {
    say(`The camera could not be used: ${error.message}`, true);
  }
};
$("take").onclick = () => {
  const frame = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
  frame.getContext("2d").drawImage(video, 0, 0);
  $("shoot").close();
  detect(frame, "camera");
};
$("shoot").onclose = () => {
  video.srcObject?.getTracks().forEach(track => track.stop());
  video.srcObject = null;
};

loading.then(
  time => {
    document.body.dataset.state ??= "ready";
    if (!latest) say(`Ready: the model was loaded in ${milliseconds(time)}.`);
  },
  error => {
    document.body.dataset.state = "failed";
    say(`The model could not be loaded: ${error.message ?? error}`, true);
  },
);
