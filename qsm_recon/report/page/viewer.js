"use strict";

// Three orthogonal views of each image with one crosshair.  Images are held with their axes to the right, to anterior
// and to superior, as nearly as can be; `order` and `flips` lead back to the voxels of the files.
const LARGEST_NEGATIVE = -32768;  // outside the mask
const PLANES = [  // axis cut, axis drawn to the right, axis drawn upwards
  { name: "axial", cut: 2, right: 0, up: 1 },
  { name: "coronal", cut: 1, right: 0, up: 2 },
  { name: "sagittal", cut: 0, right: 1, up: 2 },
];
const LETTERS = [["L", "R"], ["P", "A"], ["I", "S"]];
const data = JSON.parse(document.getElementById("content").textContent);
const byId = (id) => document.getElementById(id);
const state = { position: data.shape.map((n) => n >> 1), images: new Map(), waiting: false };

function made(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

async function unpacked(key) {
  const packed = Uint8Array.from(atob(byId(`image-${key}`).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const halves = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = halves.length / 2, numbers = new Int16Array(count);
  for (let i = 0; i < count; i++) numbers[i] = halves[i] | (halves[count + i] << 8);
  return numbers;
}

const strides = [data.shape[1] * data.shape[2], data.shape[2], 1];
const at = (position) => position.reduce((sum, p, axis) => sum + p * strides[axis], 0);

// Voxel of the files, counted from zero.
function fileVoxel(position) {
  const voxel = [0, 0, 0];
  data.order.forEach((axis, world) => {
    const p = data.start[world] + data.stride * position[world];
    voxel[axis] = data.flips[world] ? data.full[axis] - 1 - p : p;
  });
  return voxel;
}

const millimetres = (voxel) => [0, 1, 2].map((row) => data.affine[row][3] + voxel.reduce(
  (sum, v, column) => sum + v * data.affine[row][column], 0));

function moveTo(axis, place) {
  state.position[axis] = Math.max(0, Math.min(data.shape[axis] - 1, place));
  redraw();
}

function redraw() {
  if (state.waiting) return;
  state.waiting = true;
  requestAnimationFrame(() => { state.waiting = false; draw(); });
}

function buildView(image, plane, index) {
  const width = data.shape[plane.right], height = data.shape[plane.up];
  const canvas = made("canvas", { id: `view-${image.key}-${index}`, width, height, tabIndex: 0 });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${image.name}, ${plane.name}; arrow keys move the crosshair, page keys the slice`);
  canvas.style.aspectRatio = `${width * data.sizes[plane.right]} / ${height * data.sizes[plane.up]}`;
  const go = (event) => {
    const box = canvas.getBoundingClientRect();
    const share = (from, length) => Math.max(0, Math.min(1 - 1e-9, from / length));
    state.position[plane.right] = Math.floor(share(event.clientX - box.left, box.width) * width);
    state.position[plane.up] = height - 1 - Math.floor(share(event.clientY - box.top, box.height) * height);
    redraw();
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (event.pointerType === "mouse") canvas.setPointerCapture(event.pointerId);
    go(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons & 1 && canvas.hasPointerCapture(event.pointerId)) go(event);
  });
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas) return;  // the page scrolls until a view has been clicked
    event.preventDefault();
    moveTo(plane.cut, state.position[plane.cut] - Math.sign(event.deltaY));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [plane.right, -1], ArrowRight: [plane.right, 1], ArrowDown: [plane.up, -1],
      ArrowUp: [plane.up, 1], PageDown: [plane.cut, -1], PageUp: [plane.cut, 1] };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const [axis, step] = steps[event.key];
    moveTo(axis, state.position[axis] + step);
  });
  const view = made("div", { className: "view" }, canvas, made("i", { className: "across" }), made("i", { className: "upright" }));
  [["left", plane.right, 0], ["right", plane.right, 1], ["bottom", plane.up, 0], ["top", plane.up, 1]].forEach(
    ([side, axis, end]) => view.append(made("b", { className: side, textContent: LETTERS[axis][end] })));
  const figure = made("figure", { className: `plane-${index}` }, view);
  figure.style.flex = `${width * data.sizes[plane.right]} 1 0`;
  return figure;
}

function paint(image, plane, index) {
  const canvas = byId(`view-${image.key}-${index}`), context = canvas.getContext("2d");
  const { width, height } = canvas;
  const pixels = context.createImageData(width, height);
  const { numbers, level, half } = state.images.get(image.key);
  const gain = 127.5 * image.step / half, shift = 127.5 * (1 - level / half);
  const position = [0, 0, 0];
  position[plane.cut] = state.position[plane.cut];
  const start = at(position);
  let pixel = 0;
  for (let row = height - 1; row >= 0; row--) {
    let voxel = start + row * strides[plane.up];
    for (let column = 0; column < width; column++, pixel += 4, voxel += strides[plane.right]) {
      const number = numbers[voxel];
      if (number === LARGEST_NEGATIVE) continue;  // stays transparent
      const grey = number * gain + shift;  // clamped by the array
      pixels.data[pixel] = grey; pixels.data[pixel + 1] = grey; pixels.data[pixel + 2] = grey; pixels.data[pixel + 3] = 255;
    }
  }
  context.putImageData(pixels, 0, 0);
  const view = canvas.parentElement.style;
  view.setProperty("--x", `${100 * (state.position[plane.right] + 0.5) / width}%`);
  view.setProperty("--y", `${100 * (height - state.position[plane.up] - 0.5) / height}%`);
}

const decimals = (step) => Math.max(0, Math.min(8, Math.ceil(-Math.log10(step) - 1e-9)));

function draw() {
  const voxel = fileVoxel(state.position);
  byId("voxel").textContent = voxel.join(", ");
  byId("place").textContent = millimetres(voxel).map((mm) => mm.toFixed(1)).join(", ");
  for (const image of data.images) {
    const number = state.images.get(image.key).numbers[at(state.position)];
    const output = byId(`value-${image.key}`);
    const outside = number === LARGEST_NEGATIVE;
    output.textContent = outside ? "outside the mask" : `${(number * image.step).toFixed(decimals(image.step))} ${image.unit}`;
    output.dataset.value = outside ? "" : number * image.step;
    if (!byId(`row-${image.key}`).hidden) PLANES.forEach((plane, index) => paint(image, plane, index));
  }
  PLANES.forEach((plane) => { byId(`slice-${plane.cut}`).value = state.position[plane.cut]; });
  document.body.dataset.drawn = voxel.join(" ");
}

// Level and half width of the grey window, as numbers and with a slider for the width.
function buildWindow(image) {
  const held = state.images.get(image.key);
  const step = Number((image.half / 50).toPrecision(1));
  const rounded = (value) => Number(value.toFixed(decimals(step / 10)));
  const field = (name, value) => made("input", { type: "number", id: `${name}-${image.key}`, step, value: rounded(value) });
  const level = field("level", image.centre), half = field("half", image.half);
  const slider = made("input", { type: "range", id: `width-${image.key}`, min: -2, max: 1, step: 0.01, value: 0 });
  slider.setAttribute("aria-label", `grey window of ${image.name}`);
  level.setAttribute("aria-label", `grey level of ${image.name}`);
  half.setAttribute("aria-label", `half width of the grey window of ${image.name}`);
  level.addEventListener("input", () => { if (level.value !== "") { held.level = Number(level.value); redraw(); } });
  half.addEventListener("input", () => { if (half.value > 0) { held.half = Number(half.value); slider.value = Math.log10(held.half / image.half); redraw(); } });
  slider.addEventListener("input", () => {
    held.half = image.half * 10 ** slider.value;
    half.value = rounded(held.half);
    redraw();
  });
  held.reset = () => {
    Object.assign(held, { level: image.centre, half: image.half });
    level.value = rounded(image.centre); half.value = rounded(image.half); slider.value = 0;
  };
  return made("span", { className: "window" }, level, " ± ", half, slider);
}

function buildPanel() {
  byId("images").replaceChildren(...data.images.map((image) => {
    const box = made("input", { type: "checkbox", id: `show-${image.key}`, checked: !byId(`row-${image.key}`).hidden });
    box.addEventListener("change", () => { byId(`row-${image.key}`).hidden = !box.checked; redraw(); });
    return made("tr", {}, made("th", {}, made("label", {}, box, ` ${image.name}`)),
      made("td", {}, made("output", { id: `value-${image.key}` })), made("td", {}, buildWindow(image)));
  }));
  byId("slices").replaceChildren(...PLANES.map((plane) => {
    const slider = made("input", { type: "range", id: `slice-${plane.cut}`, min: 0, max: data.shape[plane.cut] - 1, step: 1 });
    slider.addEventListener("input", () => moveTo(plane.cut, Number(slider.value)));
    return made("label", {}, plane.name, slider);
  }));
  document.querySelectorAll("input[name=plane]").forEach((choice) => choice.addEventListener("change", () => {
    byId("viewer").dataset.plane = choice.value;
  }));
  byId("reset").addEventListener("click", () => { state.images.forEach((held) => held.reset()); redraw(); });
}

async function startViewer() {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser cannot unpack the images; take one of 2023 or later");
  }
  for (const image of data.images) {
    state.images.set(image.key, { numbers: await unpacked(image.key), level: image.centre, half: image.half });
  }
  byId("rows").replaceChildren(...data.images.map((image) => made("div", { id: `row-${image.key}`, className: "row",
    hidden: ["total", "error"].includes(image.key) }, made("p", { textContent: image.name }),
    made("div", { className: "planes" }, ...PLANES.map((plane, index) => buildView(image, plane, index))))));
  buildPanel();
  byId("viewer").hidden = false;
  byId("no-viewer").hidden = true;
  draw();
}

async function copyCommand() {
  const text = byId("command").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // not allowed here: the old way
    getSelection().selectAllChildren(byId("command"));
    document.execCommand("copy");
  }
  byId("copy").textContent = "copied";
}

byId("copy").addEventListener("click", copyCommand);
startViewer().catch((error) => {
  byId("no-viewer").textContent = `The viewer cannot be shown: ${error.message}. The rest of the page does not need it.`;
  document.body.dataset.failed = error.message;
});
