// Tables sort by a click on a heading; a source is lit on the image and in the table at once.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[column].dataset.v ?? row.cells[column].textContent;
    const compare = (a, b) => {
      const [x, y] = [Number(key(a)), Number(key(b))];
      if (Number.isNaN(x) || Number.isNaN(y)) {
        if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;  // what is not known comes last
        return (up ? 1 : -1) * key(a).localeCompare(key(b));
      }
      return (up ? 1 : -1) * (x - y);
    };
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort(compare));
  }));
}
for (const one of document.querySelectorAll("[data-source]")) {
  const all = document.querySelectorAll(`[data-source="${one.dataset.source}"]`);
  one.addEventListener("mouseenter", () => all.forEach(other => other.classList.add("lit")));
  one.addEventListener("mouseleave", () => all.forEach(other => other.classList.remove("lit")));
}
