// Sorts tables; which by what is kept in the address: #sort=leaderboard:2:desc (table, column counted from 1, direction).
"use strict";
(() => {
  const PREFIX = "#sort=";
  const tables = new Map();
  for (const table of document.querySelectorAll("table[data-sort]")) {
    tables.set(table.dataset.sort, { table, rows: [...table.tBodies[0].rows], state: null });
  }

  const asNumbers = (a, b) => Number(a) - Number(b);
  const asWords = (a, b) => a.localeCompare(b, "en", { numeric: true });

  // state: {column, direction}, or null for the order that the report came in. Missing values stay last either way.
  function sort(name, state) {
    const { table, rows } = tables.get(name);
    tables.get(name).state = state;
    let order = rows;
    if (state !== null) {
      const value = (row) => row.cells[state.column - 1].dataset.value;
      const sign = state.direction === "desc" ? -1 : 1;
      const known = rows.filter((row) => value(row) !== undefined);
      const compare = known.some((row) => Number.isNaN(Number(value(row)))) ? asWords : asNumbers;
      known.sort((a, b) => sign * compare(value(a), value(b)));
      order = [...known, ...rows.filter((row) => value(row) === undefined)];
    }
    table.tBodies[0].append(...order);
    [...table.tHead.rows[0].cells].forEach((header, index) => {
      const sorted = state !== null && index === state.column - 1;
      const direction = sorted && state.direction === "desc" ? "descending" : "ascending";
      header.setAttribute("aria-sort", sorted ? direction : "none");
    });
  }

  function next(state, column, numeric) {
    const [first, second] = numeric ? ["desc", "asc"] : ["asc", "desc"];
    if (state === null || state.column !== column) return { column, direction: first };
    return state.direction === first ? { column, direction: second } : null;
  }

  function write() {
    const parts = [];
    for (const [name, { state }] of tables) {
      if (state !== null) parts.push(`${name}:${state.column}:${state.direction}`);
    }
    const address = parts.length ? PREFIX + parts.join(",") : location.pathname + location.search;
    history.replaceState(null, "", address);
  }

  function read(scroll) {
    if (!location.hash.startsWith(PREFIX)) return;
    for (const [name, { state }] of tables) if (state !== null) sort(name, null);
    let shown = null;
    for (const part of location.hash.slice(PREFIX.length).split(",")) {
      const [name, number, direction] = part.split(":");
      const found = tables.get(name);
      const column = Number(number);
      if (!found || !(column >= 1 && column <= found.table.tHead.rows[0].cells.length)) continue;
      sort(name, { column, direction: direction === "desc" ? "desc" : "asc" });
      for (let up = found.table; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
      shown = shown || found.table;
    }
    if (scroll && shown) (shown.closest("section") || shown).scrollIntoView();
  }

  for (const [name, entry] of tables) {
    [...entry.table.tHead.rows[0].cells].forEach((header, index) => {
      const button = header.querySelector("button");
      button.addEventListener("click", () => {
        sort(name, next(entry.state, index + 1, header.classList.contains("number")));
        write();
        const sorted = header.getAttribute("aria-sort");
        const said = sorted === "none" ? "In the first order" : `Sorted by ${button.textContent}, ${sorted}`;
        document.getElementById("said").textContent = said;
      });
    });
  }
  for (const box of document.querySelectorAll("input[data-notes]")) {
    const show = () => document.getElementById(box.dataset.notes).classList.toggle("notes", box.checked);
    box.addEventListener("change", show);
    show();
  }
  window.addEventListener("hashchange", () => read(true));
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details.collapsed")) details.open = true;
  });
  read(true);
})();
