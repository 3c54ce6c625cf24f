"use strict";

const content = JSON.parse(document.getElementById("content").textContent);
const byId = (id) => document.getElementById(id);
const categories = Object.keys(content.categories);
// One step per category and map, a category at a time.
const steps = categories.flatMap((category) => content.orders[category].map((map) => ({ category, map })));
const stored = `qsm-rating-${content.page}`;
const state = { step: 0, rater: "", ratings: Object.fromEntries(categories.map((name) => [name, {}])), saved: false };
let enlarged = null;
let kept = true;

const here = () => steps[state.step];
const rated = ({ category, map }) => state.ratings[category][map] !== undefined;
const unrated = () => steps.filter((step) => !rated(step)).length;

function say(text) { byId("message").textContent = text; }

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// --- what is kept ---------------------------------------------------------------------------------------------------

function keep() {
  try {
    const { step, rater, ratings, saved } = state;
    localStorage.setItem(stored, JSON.stringify({ step, rater, ratings, saved }));
  } catch {
    kept = false;
    say("This browser keeps nothing here: save as a file before you close the page.");
  }
}

function allowedRatings(found) {
  const known = new Set(Object.keys(content.images));
  const clean = {};
  for (const category of categories) {
    clean[category] = {};
    for (const [map, score] of Object.entries((found || {})[category] || {})) {
      if (known.has(map) && Number.isInteger(score) && score >= 0 && score < content.scale.length) clean[category][map] = score;
    }
  }
  return clean;
}

function restore() {
  let found = null;
  try { found = JSON.parse(localStorage.getItem(stored)); } catch { found = null; }
  if (!found) return;
  state.ratings = allowedRatings(found.ratings);
  state.rater = String(found.rater || "");
  state.saved = Boolean(found.saved);
  if (Number.isInteger(found.step) && found.step >= 0 && found.step < steps.length) state.step = found.step;
}

function save() {
  const name = state.rater.trim();
  if (!name) {
    say("Please give your name or initials first.");
    byId("rater").focus();
    return;
  }
  const open = unrated();
  const document_ = { format: 1, page: content.page, rater: name, saved: new Date().toISOString(), complete: open === 0,
    ratings: state.ratings };
  const address = URL.createObjectURL(new Blob([JSON.stringify(document_, null, 2) + "\n"], { type: "application/json" }));
  const safe = name.replace(/[^\p{L}\p{N}_-]+/gu, "_");
  const link = make("a", { href: address, download: `rating-${safe}-${content.page.slice(0, 6)}.json` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
  state.saved = true;
  keep();
  say(open ? `Saved, with ${open} still to rate.` : "Saved, all rated. Send the file to whoever gave you this page.");
}

async function load(file) {
  let found;
  try { found = JSON.parse(await file.text()); } catch { say(`${file.name}: not a file of ratings.`); return; }
  if (!found || found.page !== content.page) { say(`${file.name}: belongs to another page.`); return; }
  state.ratings = allowedRatings(found.ratings);
  state.rater = String(found.rater || "");
  state.saved = true;
  goTo(Math.max(0, steps.findIndex((step) => !rated(step))));
  say(`Going on from ${file.name}.`);
}

// --- moving and rating ----------------------------------------------------------------------------------------------

function goTo(step) {
  state.step = Math.max(0, Math.min(steps.length - 1, step));
  keep();
  show();
}

function rate(score) {
  state.ratings[here().category][here().map] = score;
  state.saved = false;
  if (state.step < steps.length - 1) { say(""); goTo(state.step + 1); return; }
  keep();
  show();
  const open = unrated();
  say(open ? `That was the last one; ${open} before it are still to rate.` : "All rated: please save as a file.");
}

// --- showing --------------------------------------------------------------------------------------------------------

function view(facts, image) {
  const figure = make("figure", { title: `${facts.place}, ${facts.name}` },
    make("img", { src: `data:image/png;base64,${image}`, alt: `${facts.name} view through ${facts.place}`, draggable: false }));
  facts.ends.forEach((letter, i) => figure.append(make("span", { className: `end-${i}`, textContent: letter })));
  figure.append(make("figcaption", { textContent: facts.slice }));
  return figure;
}

function buildViews() {
  const images = content.images[here().map];
  const perPlace = content.views[0].length;
  byId("views").replaceChildren(...content.views.map((row, r) => make("div", { className: "place" },
    make("span", { textContent: row[0].place }),
    ...row.map((facts, c) => {
      const figure = view(facts, images[r * perPlace + c]);
      figure.addEventListener("click", () => { enlarged = [r, c]; show(); });
      return figure;
    }))));
  byId("large").hidden = enlarged === null;
  byId("large").replaceChildren();
  if (enlarged !== null) {
    const [r, c] = enlarged;
    const figure = view(content.views[r][c], images[r * perPlace + c]);
    figure.addEventListener("click", shrink);
    byId("large").append(figure);
  }
  layout();
}

function shrink() { enlarged = null; show(); }

// One scale in pixels per millimetre for all views, so that they are as large as the window allows.
function layout() {
  const main = byId("views"), rows = content.views, gap = 8;
  const wide = Math.max(...rows.map((row) => row.reduce((sum, facts) => sum + facts.width, 0)));
  const high = rows.reduce((sum, row) => sum + Math.max(...row.map((facts) => facts.height)), 0);
  const scale = Math.max(.3, Math.min((main.clientWidth - 40 - gap * rows[0].length) / wide,
    (window.innerHeight - 16 - gap * rows.length) / high));
  main.querySelectorAll(".place").forEach((row, r) => row.querySelectorAll("figure").forEach((figure, c) => {
    figure.style.width = `${rows[r][c].width * scale}px`;
    figure.style.height = `${rows[r][c].height * scale}px`;
  }));
  const figure = byId("large").querySelector("figure");
  if (figure) {
    const facts = rows[enlarged[0]][enlarged[1]], box = byId("large");
    const large = Math.min((box.clientWidth - 24) / facts.width, (box.clientHeight - 24) / facts.height);
    figure.style.width = `${facts.width * large}px`;
    figure.style.height = `${facts.height * large}px`;
  }
}

function show() {
  const { category, map } = here();
  const order = content.orders[category];
  byId("step").textContent = `category ${categories.indexOf(category) + 1} of ${categories.length} · `
    + `map ${order.indexOf(map) + 1} of ${order.length}`;
  byId("category").textContent = category;
  byId("meaning").textContent = content.categories[category];
  byId("scores").querySelectorAll("button").forEach((button, score) =>
    button.setAttribute("aria-pressed", String(state.ratings[category][map] === score)));
  byId("back").disabled = state.step === 0;
  byId("next").disabled = state.step === steps.length - 1;
  byId("rater").value = state.rater;
  byId("progress").querySelectorAll("button").forEach((dot, i) => {
    dot.classList.toggle("rated", rated(steps[i]));
    dot.classList.toggle("here", i === state.step);
    dot.textContent = rated(steps[i]) ? state.ratings[steps[i].category][steps[i].map] : "";
  });
  buildViews();
  document.body.dataset.shown = String(state.step);
}

function build() {
  byId("scores").append(...content.scale.map((word, score) => {
    const button = make("button", { type: "button", id: `score-${score}` }, make("b", { textContent: score }), word);
    button.addEventListener("click", () => rate(score));
    return button;
  }));
  byId("progress").append(...categories.map((category, group) => make("div", { className: "group" },
    make("span", { textContent: category }),
    make("div", { className: "dots" }, ...content.orders[category].map((_, i) => {
      const step = group * content.orders[category].length + i;
      const dot = make("button", { type: "button", title: `${category}, map ${i + 1}` });
      dot.addEventListener("click", () => goTo(step));
      return dot;
    })))));
  byId("back").addEventListener("click", () => goTo(state.step - 1));
  byId("next").addEventListener("click", () => goTo(state.step + 1));
  byId("save").addEventListener("click", save);
  byId("load").addEventListener("change", (event) => { if (event.target.files[0]) load(event.target.files[0]); });
  byId("rater").addEventListener("input", (event) => { state.rater = event.target.value; keep(); });
  window.addEventListener("resize", layout);
  window.addEventListener("beforeunload", (event) => {
    if (!kept && !state.saved && unrated() < steps.length) event.preventDefault();  // the browser asks first
  });
  document.addEventListener("keydown", (event) => {
    if (event.target === byId("rater") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^[0-9]$/.test(event.key) && Number(event.key) < content.scale.length) rate(Number(event.key));
    else if (event.key === "ArrowRight") goTo(state.step + 1);
    else if (event.key === "ArrowLeft") goTo(state.step - 1);
    else if (event.key === "Escape" && enlarged !== null) shrink();
    else return;
    event.preventDefault();
  });
}

restore();
build();
show();
