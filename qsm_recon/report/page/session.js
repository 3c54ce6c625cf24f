const session = JSON.parse(document.getElementById("content").textContent);
const COLOURS = ["#c2410c", "#2563eb", "#16a34a", "#9333ea", "#db2777", "#0891b2", "#a16207", "#475569", "#0f766e", "#be123c"];
const DIFFERENCE_GAIN = 4;
const OUTLINE = [164, 126, 92, 255];
const byId = (id) => document.getElementById(id);
const state = { case: 0, point: 0, window: 0.1, difference: false, position: [0, 0, 0] };
const unpacked = new Map();
let drawings = 0;
let highlights = [];

const currentCase = () => session.cases[state.case];
const currentPoint = () => currentCase().points[state.point];

async function imageOf(caseIndex, point) {
  const key = `image-${caseIndex}-${point}`;
  if (!unpacked.has(key)) {
    const packed = Uint8Array.from(atob(byId(key).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    unpacked.set(key, new Response(stream).arrayBuffer().then((buffer) => new Uint8Array(buffer)));
  }
  return unpacked.get(key);
}

// Where the slice of a plane lies in the unpacked bytes.
function sliceOf(planes, shape, index, number) {
  let offset = 0;
  for (let i = 0; i < index; i++) offset += planes[i].slices.length * shape[planes[i].right] * shape[planes[i].up];
  const size = shape[planes[index].right] * shape[planes[index].up];
  return [offset + number * size, size];
}

function nearest(slices, position) {
  let best = 0;
  slices.forEach((slice, i) => { if (Math.abs(slice - position) < Math.abs(slices[best] - position)) best = i; });
  return best;
}

// Whether a pixel outside the mask touches it.
function isBorder(i, width, size, inside) {
  if (inside(i)) return false;
  const column = i % width;
  return (column > 0 && inside(i - 1)) || (column < width - 1 && inside(i + 1))
    || (i >= width && inside(i - width)) || (i + width < size && inside(i + width));
}

function buildViews() {
  const data = currentCase();
  byId("views").replaceChildren(...data.planes.map((plane, index) => {
    const figure = document.createElement("figure");
    const width = data.shape[plane.right], height = data.shape[plane.up];
    figure.style.flex = `${width * data.voxel[plane.right]} 1 0`;
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { id: `view-${index}`, width, height });
    canvas.style.aspectRatio = `${width * data.voxel[plane.right]} / ${height * data.voxel[plane.up]}`;
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      state.position[plane.right] = Math.floor((event.clientX - box.left) / box.width * width);
      state.position[plane.up] = height - 1 - Math.floor((event.clientY - box.top) / box.height * height);
      draw();
    });
    const slider = document.createElement("input");
    Object.assign(slider, { type: "range", id: `slice-${index}`, min: 0, max: plane.slices.length - 1, step: 1 });
    slider.setAttribute("aria-label", `${plane.name} slice`);
    slider.addEventListener("input", () => { state.position[plane.cut] = plane.slices[slider.value]; draw(); });
    const view = document.createElement("div");
    view.className = "view";
    view.append(canvas, ...plane.ends.map((letter, end) => {
      const mark = document.createElement("span");
      mark.className = `end-${end}`;
      mark.textContent = letter;
      return mark;
    }));
    const caption = document.createElement("figcaption");
    caption.id = `caption-${index}`;
    figure.append(view, slider, caption);
    return figure;
  }));
}

async function draw() {
  const turn = ++drawings;
  const data = currentCase();
  const other = state.difference && state.point > 0 ? state.point - 1 : null;
  const [image, compared] = await Promise.all([
    imageOf(state.case, state.point), other === null ? null : imageOf(state.case, other)]);
  if (turn !== drawings) return;  // something newer is on its way
  const gain = 127 * data.range / (127 * state.window);
  data.planes.forEach((plane, index) => {
    const number = nearest(plane.slices, state.position[plane.cut]);
    byId(`slice-${index}`).value = number;
    byId(`caption-${index}`).textContent = `${plane.name}, ${plane.stored[number]}`;
    const [start, size] = sliceOf(data.planes, data.shape, index, number);
    const canvas = byId(`view-${index}`);
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(canvas.width, canvas.height);
    const inside = (i) => image[start + i] !== 0;
    for (let i = 0; i < size; i++) {
      const level = !inside(i) ? 0 : compared ? DIFFERENCE_GAIN * (image[start + i] - compared[start + i])
        : state.difference ? 0 : image[start + i] - 128;
      const grey = 127.5 + level * gain;  // clamped by the array
      pixels.data.set(isBorder(i, canvas.width, size, inside) ? OUTLINE : [grey, grey, grey, 255], 4 * i);
    }
    context.putImageData(pixels, 0, 0);
    context.fillStyle = "rgba(251, 191, 36, .35)";
    context.fillRect(state.position[plane.right], 0, 1, canvas.height);
    context.fillRect(0, canvas.height - 1 - state.position[plane.up], canvas.width, 1);
  });
  document.body.dataset.drawn = `${state.case}-${state.point}`;
}

function show() {
  const point = currentPoint();
  const error = point.metrics.nrmse === undefined ? "" : ` · NRMSE ${point.metrics.nrmse.toFixed(1)} %`;
  byId("value-label").textContent = `${session.parameter} = ${point.value.toPrecision(4)} ${unit()}${error}`;
  byId("point").value = state.point;
  byId("window-label").textContent = state.window.toFixed(3);
  byId("command").textContent = point.command;
  sayWhatIsShown(point);
  highlights.forEach((move) => move(point));
  document.querySelectorAll("#points tbody tr").forEach((row, i) => row.classList.toggle("selected", i === state.point));
  return draw();
}

const unit = () => session.unit;
const measure = (value) => `${value.toPrecision(4)} ${unit()}`.trim();

// Rules pick between the points; the map at the pick itself is not among those computed.
function sayWhatIsShown(point) {
  const chosen = session.chosen.value, note = byId("shown");
  const values = currentCase().points.map((each) => Math.log(each.value));
  const isNearest = chosen !== null && state.point === nearest(values, Math.log(chosen));
  const isPick = isNearest && Math.abs(point.value / chosen - 1) < 5e-4;
  note.classList.toggle("nearest", isNearest && !isPick);
  note.textContent = chosen === null ? "" : isPick ? `This is the map at the pick of ${session.chosen.method}.`
    : isNearest ? `Shown is the nearest computed weight, ${measure(point.value)}, not the pick of `
      + `${session.chosen.method}, ${measure(chosen)}, for which no map was computed here.`
    : `The pick of ${session.chosen.method} is ${measure(chosen)}.`;
}

function choosePoint(index) {
  state.point = Math.max(0, Math.min(currentCase().points.length - 1, index));
  return show();
}

function chooseCase(index) {
  state.case = index;
  const data = currentCase();
  state.position = data.shape.map((n) => Math.floor(n / 2));
  byId("point").max = data.points.length - 1;
  byId("window").max = data.range;
  state.window = Math.min(state.window, data.range);
  byId("window").value = state.window;
  buildViews();
  buildPointTable();
  goToPick();
}

function goToPick() {
  const values = currentCase().points.map((point) => Math.log(point.value));
  const target = session.chosen.value;
  choosePoint(target === null ? Math.floor(values.length / 2) : nearest(values, Math.log(target)));
}

// Null beyond the curve, which ends before a point whose costs have no logarithm.
function interpolate(xs, ys, x) {
  const i = xs.findIndex((v) => v >= x);
  if (i < 0 || x < xs[0]) return null;
  if (i === 0) return ys[0];
  const share = Math.log(x / xs[i - 1]) / Math.log(xs[i] / xs[i - 1]);
  return Math.exp((1 - share) * Math.log(ys[i - 1]) + share * Math.log(ys[i]));
}

function buildCharts() {
  const curve = session.curve;
  const found = session.picks.map((pick, i) => ({ ...pick, colour: COLOURS[i] })).filter((pick) => pick.value !== null);
  const vertical = found.map((pick) => ({ at: pick.value, colour: pick.colour }));
  const at = (ys) => (point) => interpolate(curve.parameter, ys, point.value);
  const toPoint = (i) => {
    const values = currentCase().points.map((point) => Math.log(point.value));
    choosePoint(nearest(values, Math.log(curve.parameter[i])));
  };
  const x = `${session.parameter}${unit() ? ` [${unit()}]` : ""}`;
  const corner = drawChart(byId("chart-lcurve"), {
    title: "L-curve", x: "data cost", y: "regularisation cost", logX: true, logY: true,
    series: [{ x: curve.data, y: curve.regularisation, colour: "#444", onPoint: toPoint }],
    // The first on top: auto often lies where the rule does that it follows.
    marks: [...found].reverse().map((pick) => ({ colour: pick.colour, name: `${pick.method}: ${pick.value.toPrecision(3)}`,
      x: interpolate(curve.parameter, curve.data, pick.value),
      y: interpolate(curve.parameter, curve.regularisation, pick.value) })).filter((mark) => mark.x !== null),
  });
  highlights = [(point) => corner(at(curve.data)(point), at(curve.regularisation)(point))];
  if (curve.curvature) {
    drawChart(byId("chart-curvature"), {
      title: "curvature of the L-curve (convex: positive)", x, y: "curvature", logX: true, logY: false, vertical,
      include: [0], series: [{ x: curve.curvature.parameter, y: curve.curvature.value, colour: "#444" }],
    });
  }
  if (curve.bands) {
    const bands = ["magic cone", "near it", "off it"];
    drawChart(byId("chart-bands"), {
      title: "spectrum by distance from the cone", x, y: "mean |F χ|", logX: true, logY: true, vertical,
      series: bands.map((name, i) => ({ x: curve.parameter, y: curve.bands[i], name, colour: COLOURS[i] })),
    });
  }
  const misfit = drawChart(byId("chart-misfit"), {
    title: "misfit", x, y: "data cost", logX: true, logY: true, vertical,
    series: [{ x: curve.parameter, y: curve.data, colour: "#444", name: "data cost", onPoint: toPoint },
      ...(curve.noise ? [{ x: curve.parameter, y: curve.noise, colour: "#2563eb", dash: "4 3", name: "noise" }] : [])],
  });
  if (curve.risk) {
    drawChart(byId("chart-risk"), {
      title: "estimated error of the map", x, y: "ppb, off the magic cone", logX: true, logY: true, vertical,
      series: [{ x: curve.risk.parameter, y: curve.risk.ppb, colour: "#444" }],
    });
  }
  highlights.push((point) => misfit(point.value, at(curve.data)(point)));
}

function tableRow(cells, kind = "td") {
  const row = document.createElement("tr");
  for (const [text, style] of cells) {
    const cell = document.createElement(kind);
    cell.textContent = text;
    if (style) cell.className = style;
    row.append(cell);
  }
  return row;
}

function fillTable(table, heading, rows) {
  const head = document.createElement("thead"), body = document.createElement("tbody");
  head.append(tableRow(heading, "th"));
  body.append(...rows);
  table.replaceChildren(head, body);
}

function buildPickTable() {
  fillTable(byId("picks"), [["rule", "text"], [session.parameter], ["confidence"], ["reason", "text"]],
    session.picks.map((pick, i) => {
      const row = tableRow([[pick.method, "text"], [pick.value === null ? "none" : pick.value.toPrecision(3)],
        [pick.confidence.toFixed(2)], [pick.reason, "text"]]);
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = COLOURS[i];
      row.firstChild.prepend(swatch);
      return row;
    }));
}

const metricUnit = (name) => (session.metric_units[name] ? ` [${session.metric_units[name]}]` : "");

function buildPointTable() {
  const points = currentCase().points;
  const metrics = [...new Set(points.flatMap((point) => Object.keys(point.metrics)))];
  const heading = [session.parameter, "data cost", "regularisation cost", "iterations", "seconds",
    ...metrics.map((name) => `${name.replaceAll("_", " ")}${metricUnit(name)}`)].map((text) => [text]);
  fillTable(byId("points"), [...heading, ["note", "text"]], points.map((point, i) => {
    const numbers = [point.value, point.data, point.regularisation, point.iterations, point.seconds,
      ...metrics.map((name) => point.metrics[name])];
    const place = session.curve.parameter.indexOf(point.value);
    const note = [point.settled ? "" : "costs not settled", place < 0 ? "not on the curve" : "",
      session.curve.violations[place] ? "cost runs against its direction" : ""];
    const row = tableRow([...numbers.map((v) => [v === undefined || v === null ? "–" : String(Number(v.toPrecision(4)))]),
      [note.filter(Boolean).join(", "), "text"]]);
    row.addEventListener("click", () => choosePoint(i));
    return row;
  }));
}

function start() {
  byId("title").textContent = `${session.algorithm}: ${session.cases.map((data) => data.name).join(" + ")}`;
  const chosen = session.chosen;
  byId("summary").textContent = chosen.value === null ? `${chosen.method}: ${chosen.reason}`
    : `${session.parameter} = ${measure(chosen.value)}, chosen by ${chosen.method}: ${chosen.reason}`;
  byId("case").replaceChildren(...session.cases.map((data, i) => new Option(data.name, i)));
  byId("case-label").hidden = session.cases.length < 2;
  byId("case").addEventListener("change", (event) => chooseCase(Number(event.target.value)));
  byId("point").addEventListener("input", (event) => choosePoint(Number(event.target.value)));
  byId("window").addEventListener("input", (event) => { state.window = Number(event.target.value); show(); });
  byId("difference").addEventListener("change", (event) => { state.difference = event.target.checked; show(); });
  byId("to-pick").addEventListener("click", goToPick);
  buildCharts();
  buildPickTable();
  chooseCase(0);
}

start();
