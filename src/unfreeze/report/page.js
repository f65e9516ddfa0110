// What can be clicked beside images, which viewer.js enlarges. All text of the user's is set as text, never as HTML.
(() => {
  const data = JSON.parse(document.getElementById("found").textContent);
  const percent = (p) => (100 * p).toFixed(1) + "%";
  document.querySelectorAll(".scripted").forEach((element) => { element.hidden = false; });

  // --- Search
  const VERDICTS = ["right", "wrong", "missed"];
  const SIGNS = ["✓", "✗", "○"];
  const PAGE = 48;
  const images = data.images.map((line, i) => data.multi
    ? { i, path: line[0], labels: line[1], unsure: line[2], right: line[1].every((label) => label[2] === 0) }
    : { i, path: line[0], actual: line[1], predicted: line[2], pActual: line[3], p: line[4], unsure: line[5],
        right: line[1] === line[2] });
  const sentence = (image) => data.multi
    ? image.labels.map(([c, p, v]) => `${VERDICTS[v]}: ${data.classes[c]} ${percent(p)}`).join(", ") || "no label"
    : `${data.classes[image.actual]}, predicted ${data.classes[image.predicted]} with ${percent(image.p)}`;

  const breakable = (text) => make("bdi", {},
    ...text.split(/(?<=[/_])/).flatMap((part) => [part, make("wbr")]));
  function line(sign, verdict, name, p) {
    const text = make("p", { className: verdict === 0 ? "right" : "wrong" },
      make("span", { textContent: sign + "\u00a0" }), breakable(name));
    text.classList.toggle("verdict", !data.multi);
    if (p !== undefined) text.append(" ", make("b", { textContent: percent(p) }));
    return text;
  }
  function card(image) {
    const item = make("li", {}, make("img", { src: data.uris[image.i], alt: sentence(image) }));
    if (data.multi) {
      image.labels.forEach(([c, p, v]) => item.append(line(SIGNS[v], v, data.classes[c], p)));
      if (!image.labels.length) item.append(line(SIGNS[0], 0, "no label"));
    } else {
      const v = image.right ? 0 : 1;
      item.append(line(SIGNS[v], v, data.classes[image.predicted], image.p));
      if (v) item.append(make("p", {}, "is ", breakable(data.classes[image.actual]), " ",
        make("b", { textContent: percent(image.pActual) })));
    }
    item.append(make("p", { className: "path" }, breakable(image.path)));
    return item;
  }

  const form = document.getElementById("search-form"), list = document.getElementById("search-found");
  const status = document.getElementById("search-status"), more = document.getElementById("search-more");
  function choice(label, options) {
    const select = make("select", {}, ...options.map(([value, text]) => make("option", { value, textContent: text })));
    select.addEventListener("change", () => search());
    form.append(make("label", {}, make("span", { textContent: label }), select));
    return select;
  }
  const named = data.classes.map((name, i) => [i, name]);
  const any = [["", "any"]];
  const first = choice(data.multi ? "Label" : "True class", [...any, ...named]);
  const second = data.multi
    ? choice("It is", [["", "there or given"], [0, "right"], [1, "wrongly given"], [2, "missed"]])
    : choice("Predicted class", [...any, ...named]);
  const third = choice("Show", [["", "all"], ["wrong", data.multi ? "with mistakes" : "wrong"], ["right", "right"]]);
  const order = choice("First", [["unsure", "most uncertain"], ["sure", "surest"], ["path", "by file name"]]);
  const ORDERS = {
    unsure: (a, b) => b.unsure - a.unsure || a.i - b.i,
    sure: (a, b) => a.unsure - b.unsure || a.i - b.i,
    path: (a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0),
  };
  const fits = (image) => (third.value === "" || image.right === (third.value === "right")) && (data.multi
    ? image.labels.some(([c, , v]) => (first.value === "" || c === +first.value)
        && (second.value === "" || v === +second.value))
      || (first.value === "" && second.value === "")
    : (first.value === "" || image.actual === +first.value)
      && (second.value === "" || image.predicted === +second.value));
  let hits = [];
  function extend() {
    list.append(...hits.slice(list.children.length, list.children.length + PAGE).map(card));
    more.hidden = list.children.length >= hits.length;
    reachable(list);
  }
  function search() {
    hits = images.filter(fits).sort(ORDERS[order.value]);
    list.replaceChildren();
    extend();
    status.textContent = `${hits.length} of ${images.length} images`;
  }
  more.addEventListener("click", extend);
  form.addEventListener("submit", (event) => event.preventDefault());
  search();

  function lookUp(pair) {
    [first.value, second.value] = pair.split(" ");
    third.value = "";
    search();
    document.getElementById("search").scrollIntoView();
    first.focus({ preventScroll: true });
  }
  const cellOf = (pair) => pair.split(" ").map(Number);
  document.querySelectorAll("td[data-pair]").forEach((cell) => {
    const [a, p] = cellOf(cell.dataset.pair).map((i) => data.classes[i]);
    const one = make("button", { type: "button", textContent: cell.textContent.trim() });
    one.setAttribute("aria-label", `${one.textContent} images of ${a} predicted as ${p}: show them`);
    one.addEventListener("click", () => lookUp(cell.dataset.pair));
    cell.replaceChildren(one);
  });

  // --- Dots of a large matrix: one is reached by Tab, the others by the arrows.
  const dotted = document.querySelector(".cells"), cellName = document.getElementById("cell-name");
  if (dotted) {
    const cells = [...dotted.querySelectorAll("[data-pair]")].map((mark) => {
      const [a, p] = cellOf(mark.dataset.pair);
      return { mark, a, p };
    }).sort((one, other) => one.a - other.a || one.p - other.p); // as one reads
    // Up and down lead to the next line that has a dot, and there to the nearest.
    const lineBeside = (here, step) => {
      const lines = cells.filter((cell) => step * (cell.a - here.a) > 0);
      const line = lines.length && lines.at(step > 0 ? 0 : -1).a;
      return lines.filter((cell) => cell.a === line)
        .reduce((best, cell) => (!best || Math.abs(cell.p - here.p) < Math.abs(best.p - here.p) ? cell : best), null);
    };
    const focus = (cell) => {
      cells.forEach((other) => { other.mark.setAttribute("tabindex", other === cell ? 0 : -1); });
      cell.mark.focus();
    };
    dotted.setAttribute("role", "group"); // else what is inside it is hidden from screen readers
    cellName.hidden = false;
    cells.forEach((cell, i) => {
      const title = cell.mark.querySelector("title").textContent;
      cell.mark.setAttribute("role", "button");
      cell.mark.setAttribute("aria-label", `${title} images: show them`);
      cell.mark.setAttribute("tabindex", i ? -1 : 0);
      cell.mark.addEventListener("click", () => lookUp(cell.mark.dataset.pair));
      for (const kind of ["focus", "pointerover"]) {
        cell.mark.addEventListener(kind, () => { cellName.textContent = title; });
      }
      cell.mark.addEventListener("keydown", (event) => {
        const next = {
          ArrowRight: () => cells[i + 1], ArrowLeft: () => cells[i - 1], Home: () => cells[0], End: () => cells.at(-1),
          ArrowDown: () => lineBeside(cell, 1), ArrowUp: () => lineBeside(cell, -1),
        }[event.key];
        if (next) {
          event.preventDefault();
          if (next()) focus(next());
        } else if (event.key === "Enter" || event.key === " ") {
          event.preventDefault(); // else the key also opens the list that it leads to
          lookUp(cell.mark.dataset.pair);
        }
      });
    });
  }

  // --- Map
  const map = document.getElementById("map-dots");
  if (!map) return;
  const dots = [...map.querySelectorAll("[data-image]")];
  const tip = make("div", { id: "tip", className: "gallery", hidden: true });
  tip.setAttribute("role", "status");
  document.body.append(tip);
  let pointed = -1;
  function point(i) {
    if (pointed >= 0) dots[pointed].classList.remove("pointed");
    pointed = i;
    tip.hidden = i < 0;
    if (i < 0) return;
    dots[i].classList.add("pointed");
    tip.replaceChildren(card(images[+dots[i].dataset.image]));
    const box = dots[i].getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left + 14), innerWidth - tip.offsetWidth - 8);
    const below = box.bottom + 8 + tip.offsetHeight < innerHeight;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(below ? box.bottom + 8 : box.top - tip.offsetHeight - 8) + scrollY}px`;
  }
  map.addEventListener("pointerover", (event) => {
    if (event.target.dataset.image) point(dots.indexOf(event.target));
  });
  map.addEventListener("pointerleave", () => point(-1));
  map.addEventListener("click", () => { if (pointed >= 0) show(pictures(tip), 0); });
  map.tabIndex = 0;
  map.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      point((pointed + step + dots.length) % dots.length);
    } else if (event.key === "Enter" && pointed >= 0) {
      event.preventDefault(); // else it also presses the button that the viewer focuses
      show(pictures(tip), 0);
    }
    if (event.key === "Escape") point(-1);
  });
  map.addEventListener("blur", () => point(-1));
  const bright = make("select", {}, ...[["", "all classes"], ...named].map(([value, text]) =>
    make("option", { value, textContent: text })));
  bright.addEventListener("change", () => dots.forEach((dot) =>
    dot.classList.toggle("dim", bright.value !== "" && dot.dataset.class !== bright.value)));
  document.getElementById("map-choice").append(make("label", {}, make("span", { textContent: "Highlight" }), bright));
})();
