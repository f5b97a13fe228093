"use strict";
// Sorts and filters tables and opens details for printing; the page says everything without it.
(() => {
  const number = (text) => { const value = parseFloat(text.replace(/[,%\s]/g, "")); return Number.isNaN(value) ? null : value; };
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const body = table.tBodies[0];
    if (!body || body.rows.length < 3) continue;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const key = (row) => row.cells[column].textContent.trim();
        const rows = [...body.rows].sort((one, two) => {
          const a = key(one), b = key(two), x = number(a), y = number(b);
          if (x !== null && y !== null) return x - y;
          if (x === null && y === null) return a.localeCompare(b);
          return x === null ? 1 : -1;
        });
        body.append(...(up ? rows : rows.reverse()));
      });
    });
    if (body.rows.length > 12) {
      const input = document.createElement("input");
      input.type = "search";
      input.placeholder = "filter by name";
      input.setAttribute("aria-label", "filter the rows of: " + table.caption.textContent);
      input.addEventListener("input", () => {
        const wanted = input.value.toLowerCase();
        for (const row of body.rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
      });
      table.parentElement.before(input);
    }
  }
  addEventListener("beforeprint", () => { for (const each of document.querySelectorAll("details")) each.open = true; });
})();
