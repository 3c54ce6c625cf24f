"use strict";
// Sorting and filtering of the table; without scripts all of it is there as well.
const body = document.querySelector("#runs tbody");
const show = document.getElementById("show");
const name = document.getElementById("name");

function filter() {
  const part = name.value.trim().toLowerCase();
  for (const row of body.rows) {
    const marked = show.value === "all" || row.dataset.marks.split(" ").includes(show.value);
    row.hidden = !(marked && row.dataset.name.toLowerCase().includes(part));
  }
}

function key(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number(text);
  return text === "" || Number.isNaN(number) ? text : number;
}

function compare(first, second) {
  if (typeof first === typeof second) return first < second ? -1 : first > second ? 1 : 0;
  return typeof first === "number" ? -1 : 1; // what is not known goes last
}

document.querySelectorAll("#runs th").forEach((head, column) => {
  head.tabIndex = 0;
  const sort = () => {
    const downwards = head.getAttribute("aria-sort") === "ascending";
    head.parentNode.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", downwards ? "descending" : "ascending");
    const rows = [...body.rows].sort((a, b) => (downwards ? -1 : 1) * compare(key(a, column), key(b, column)));
    body.append(...rows);
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", (event) => event.key === "Enter" && sort());
});
show.addEventListener("change", filter);
name.addEventListener("input", filter);
document.querySelector("nav").hidden = false;
