"use strict";

// A small line chart in SVG. Every axis is either logarithmic or linear.
const SVG = "http://www.w3.org/2000/svg";
const SIZE = { width: 420, height: 300, left: 58, right: 12, top: 26, bottom: 40 };
const LEGEND_Y = 32;

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e4 || size < 1e-2 ? value.toExponential(1).replace("e+", "e") : String(Number(value.toPrecision(3)));
}

function scale(values, logarithmic, from, to) {
  const map = logarithmic ? Math.log10 : (v) => v;
  let low = Math.min(...values.map(map));
  let high = Math.max(...values.map(map));
  if (low === high) { low -= 0.5; high += 0.5; }
  const margin = 0.04 * (high - low);
  low -= margin; high += margin;
  const place = (v) => from + (to - from) * (map(v) - low) / (high - low);
  const holds = (v) => map(v) >= low && map(v) <= high;
  return { place, holds, ticks: logarithmic ? logarithmicTicks(low, high) : linearTicks(low, high) };
}

function linearTicks(low, high) {
  const raw = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) ticks.push(i * step);
  return ticks;
}

function logarithmicTicks(low, high) {
  const mantissas = high - low > 2 ? [1] : high - low > 0.8 ? [1, 3] : [1, 1.5, 2, 3, 4, 5, 6, 8];
  const ticks = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const mantissa of mantissas) {
      const position = power + Math.log10(mantissa);
      if (position >= low && position <= high) ticks.push(mantissa * 10 ** power);
    }
  }
  return ticks;
}

// settings: title, x, y (labels), logX, logY, series [{x, y, colour, dash, name, onPoint}], vertical [{at, colour}],
// marks [{x, y, colour, name}]; returns a function that moves the highlight to the x, y of a
// point, or hides it where either is null.
function drawChart(host, settings) {
  const { width, height, left, right, bottom } = SIZE;
  const named = settings.series.filter((series) => series.name);
  const top = SIZE.top + (named.length ? 16 : 0);
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.append(element("text", { x: width / 2, y: 14, "text-anchor": "middle", "font-weight": 600 }, settings.title));
  const all = (name) => settings.series.flatMap((series) => series[name]);
  const x = scale(all("x"), settings.logX, left, width - right);
  const y = scale([...all("y"), ...(settings.include || [])], settings.logY, height - bottom, top);
  for (const tick of x.ticks) {
    svg.append(element("line", { x1: x.place(tick), x2: x.place(tick), y1: top, y2: height - bottom, stroke: "#eee" }));
    svg.append(element("text", { x: x.place(tick), y: height - bottom + 14, "text-anchor": "middle" }, short(tick)));
  }
  for (const tick of y.ticks) {
    svg.append(element("line", { x1: left, x2: width - right, y1: y.place(tick), y2: y.place(tick), stroke: "#eee" }));
    svg.append(element("text", { x: left - 5, y: y.place(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  svg.append(element("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, settings.x));
  svg.append(element("text", {
    transform: `translate(12 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, settings.y));
  for (const line of (settings.vertical || []).filter((each) => x.holds(each.at))) {
    svg.append(element("line", { x1: x.place(line.at), x2: x.place(line.at), y1: top, y2: height - bottom,
      stroke: line.colour, "stroke-width": 1.5, opacity: 0.8 }));
  }
  settings.series.forEach((series) => {
    const path = series.x.map((v, i) => `${i ? "L" : "M"}${x.place(v)} ${y.place(series.y[i])}`).join("");
    svg.append(element("path", { d: path, fill: "none", stroke: series.colour, "stroke-width": 1.5,
      "stroke-dasharray": series.dash || "none" }));
  });
  // Names stand between title and axes, where they can cover no curve.
  let from = left;
  for (const series of named) {
    svg.append(element("line", { x1: from, x2: from + 18, y1: LEGEND_Y - 4, y2: LEGEND_Y - 4, stroke: series.colour,
      "stroke-width": 1.5, "stroke-dasharray": series.dash || "none" }));
    svg.append(element("text", { class: "legend", x: from + 23, y: LEGEND_Y, fill: series.colour }, series.name));
    from += 40 + 6.2 * series.name.length;
  }
  for (const mark of settings.marks || []) {
    const dot = element("circle", { cx: x.place(mark.x), cy: y.place(mark.y), r: 6, fill: mark.colour, stroke: "#fff" });
    dot.append(element("title", {}, mark.name));
    svg.append(dot);
  }
  settings.series.filter((series) => series.onPoint).forEach((series) => series.x.forEach((v, i) => {
    const dot = element("circle", { class: "point", cx: x.place(v), cy: y.place(series.y[i]), r: 3, fill: series.colour });
    dot.addEventListener("click", () => series.onPoint(i));
    svg.append(dot);
  }));
  const here = element("circle", { r: 8, fill: "none", stroke: "#000", "stroke-width": 1.5, visibility: "hidden" });
  svg.append(here);
  host.replaceChildren(svg);
  return (atX, atY) => {
    const shown = atX !== null && atY !== null;
    if (shown) here.setAttribute("cx", x.place(atX));
    if (shown) here.setAttribute("cy", y.place(atY));
    here.setAttribute("visibility", shown ? "visible" : "hidden");
  };
}
