"use strict";
// Every file is a <tbody>, so that its details move with it.
const table = document.querySelector(".files");
const heads = [...table.tHead.rows[0].cells];

function valueOf(body, column) {
  const text = body.rows[0].cells[column].dataset.value;
  return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
}

function compare(a, b) {
  if (a === b) return 0;
  // What is unknown comes last, whichever way the rest goes.
  if (a === "") return Infinity;
  if (b === "") return -Infinity;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

heads.forEach((head, column) => {
  const button = head.querySelector("button");
  if (!button) return;
  button.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const bodies = [...table.tBodies].sort((a, b) => {
      const order = compare(valueOf(a, column), valueOf(b, column));
      return down && Number.isFinite(order) ? -order : order;
    });
    table.append(...bodies);
  });
});

const filter = document.querySelector("#filter");
filter.hidden = false;
filter.addEventListener("input", () => {
  const wanted = filter.value.toLowerCase();
  for (const body of table.tBodies) {
    const shown = body.rows[0].textContent.toLowerCase().includes(wanted);
    body.classList.toggle("hidden", !shown);
  }
});
