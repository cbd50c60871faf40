// What script is good at: charts, reading the heat map, and live updates. Every page says all of this
// without script too.
"use strict";
(() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // ── numbers as the server writes them ────────────────────────────────────────────────────────────

  const grouped = (v) => String(Math.round(v)).replace(/\B(?=(\d{3})+$)/g, ",");
  const places = (v) => {
    const size = Math.abs(v);
    if (size >= 1000) return grouped(v);
    return v.toFixed(size >= 100 ? 1 : size >= 1 || size === 0 ? 2 : 3);
  };
  const write = {
    number: places,
    count: grouped,
    milliseconds: (v) => places(v) + " ms",
    percent: (v) => {
      const p = v * 100;
      const size = Math.abs(p);
      return p.toFixed(size >= 10 || size === 0 ? 0 : size >= 0.1 ? 1 : 2) + " %";
    },
  };
  const tick = {
    number: (v) => (Math.abs(v) >= 1000 ? grouped(v) : String(+v.toFixed(3))),
    count: grouped,
    milliseconds: (v) => String(+v.toFixed(2)) + " ms",
    percent: (v) => String(+(v * 100).toFixed(2)) + " %",
  };

  // ── charts ───────────────────────────────────────────────────────────────────────────────────────

  const charts = new Map(); // plot element → { plot, text, observer }
  const sync = window.uPlot ? uPlot.sync("time") : null;

  /** A version is drawn thick where it was the champion and thin where it ran along. */
  const seriesOf = (line) => {
    const colour = css("--c" + line.colour);
    const plain = (values, more) => ({ values, options: { stroke: colour, width: 2, points: { size: 4 }, spanGaps: true, ...more } });
    if (line.kind === "reference") return [plain(line.values, { stroke: css("--reference"), width: 1, dash: [3, 3], points: { show: false } })];
    if (line.kind === "threshold") return [plain(line.values, { stroke: css("--threshold"), width: 1, dash: [7, 4], points: { show: false } })];
    if (line.kind === "total") return [plain(line.values, {})];
    const served = line.values.map((v, i) => (line.served[i] ? v : null));
    // The thin line also takes the first point on either side of the champion's time, so that they join.
    const along = line.values.map((v, i) => (!line.served[i] || line.served[i - 1] === false || line.served[i + 1] === false ? v : null));
    return [plain(along, { width: 1.25, points: { size: 3 }, alpha: 0.85 }), plain(served, { width: 2.75, points: { size: 5 }, spanGaps: false })];
  };

  const markStyle = {
    promotion: ["--good", []], candidate: ["--info", [2, 3]], alert: ["--critical", []],
    resolved: ["--muted", [2, 3]], schema: ["--warning", [4, 3]],
  };

  const drawMarks = (marks) => (u) => {
    const { ctx } = u;
    const ratio = window.devicePixelRatio || 1;
    ctx.save();
    ctx.lineWidth = ratio;
    for (const mark of marks) {
      const x = u.valToPos(mark.at, "x", true);
      if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
      const [colour, dash] = markStyle[mark.kind] || ["--muted", [2, 3]];
      ctx.strokeStyle = ctx.fillStyle = css(colour);
      ctx.globalAlpha = 0.55;
      ctx.setLineDash(dash.map((d) => d * ratio));
      ctx.beginPath();
      ctx.moveTo(x, u.bbox.top);
      ctx.lineTo(x, u.bbox.top + u.bbox.height);
      ctx.stroke();
      ctx.globalAlpha = 1;
      ctx.setLineDash([]);
      drawShape(ctx, mark.kind, x, u.bbox.top, 4.5 * ratio);
    }
    ctx.restore();
  };

  /** Each kind of event has its own shape at the top of its line. */
  const drawShape = (ctx, kind, x, y, r) => {
    ctx.beginPath();
    if (kind === "promotion") {
      ctx.moveTo(x, y - r); ctx.lineTo(x + r, y + r); ctx.lineTo(x - r, y + r); ctx.closePath();
    } else if (kind === "alert") {
      ctx.rect(x - r * 0.85, y - r * 0.85, r * 1.7, r * 1.7);
    } else if (kind === "schema") {
      ctx.moveTo(x, y - r); ctx.lineTo(x + r, y); ctx.lineTo(x, y + r); ctx.lineTo(x - r, y); ctx.closePath();
    } else {
      ctx.arc(x, y, r * 0.85, 0, 7);
    }
    if (kind === "resolved") { ctx.fillStyle = css("--surface"); ctx.fill(); const width = ctx.lineWidth; ctx.lineWidth = width * 1.5; ctx.stroke(); ctx.lineWidth = width; } else ctx.fill();
  };

  const tipFor = (figure) => {
    let tip = figure.querySelector(":scope > .tip");
    if (!tip) { tip = make("div", "tip"); tip.hidden = true; figure.append(tip); }
    return tip;
  };

  const showTip = (data, figure) => (u) => {
    const tip = tipFor(figure);
    const i = u.cursor.idx;
    if (i == null || u.cursor.left < 0 || !figure.matches(":hover")) { tip.hidden = true; return; }
    tip.replaceChildren(make("p", "", data.labels[i]));
    const list = make("ul");
    for (const line of data.lines) {
      if (line.values[i] == null) continue;
      const item = make("li");
      const name = make("span");
      const kind = line.kind === "reference" || line.kind === "threshold" ? line.kind : "c" + line.colour;
      name.append(make("i", "swatch " + kind), " " + line.name);
      item.append(name, make("strong", "", write[data.scale](line.values[i])));
      list.append(item);
    }
    tip.append(list);
    const from = data.x[i];
    const to = data.x[i + 1] ?? Infinity;
    for (const mark of data.marks.filter((m) => m.at >= from && m.at < to).slice(0, 4)) tip.append(make("span", "event", mark.text));
    tip.hidden = false;
    const box = figure.getBoundingClientRect();
    const over = u.over.getBoundingClientRect();
    const x = over.left - box.left + u.cursor.left;
    const left = x + 14 + tip.offsetWidth > box.width ? x - tip.offsetWidth - 14 : x + 14;
    tip.style.left = Math.max(0, left) + "px";
    tip.style.top = over.top - box.top + 8 + "px";
  };

  const yRange = (scale) => (u, low, high) => {
    if (low == null) return [0, 1];
    if (scale === "percent") return [Math.min(0, low), high > 0.5 ? 1 : Math.max(high * 1.15, 0.001)];
    if (scale === "count" || scale === "milliseconds") return [0, high * 1.1 || 1];
    const room = (high - low || Math.abs(high) || 1) * 0.12;
    return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
  };

  const draw = (element, text) => {
    const data = JSON.parse(text);
    const figure = element.closest("figure");
    const drawn = data.lines.flatMap(seriesOf);
    element.classList.add("drawn");
    const axis = { stroke: css("--muted"), grid: { stroke: css("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const hour = data.x.length > 1 && data.x[1] - data.x[0] < 86400;
    const date = (s) => new Date(s * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC", ...(hour ? { hour: "2-digit" } : {}) });
    const plot = new uPlot({
      width: element.clientWidth || 300,
      height: element.clientHeight || 200,
      padding: [10, 12, 0, 0],
      legend: { show: false },
      tzDate: (s) => uPlot.tzDate(new Date(s * 1000), "UTC"),
      cursor: { sync: sync ? { key: sync.key, setSeries: false } : undefined, points: { size: 7 }, drag: { x: true, y: false } },
      scales: { x: { time: true }, y: { range: yRange(data.scale) } },
      axes: [
        { ...axis, space: 70, size: 26, values: (u, splits) => splits.map(date) },
        { ...axis, size: 52, space: 34, values: (u, splits) => splits.map(tick[data.scale]) },
      ],
      series: [{}, ...drawn.map((s) => s.options)],
      hooks: { draw: [drawMarks(data.marks)], setCursor: [showTip(data, figure)] },
    }, [data.x, ...drawn.map((s) => s.values)], element);
    const observer = new ResizeObserver(() => {
      if (element.clientWidth) plot.setSize({ width: element.clientWidth, height: element.clientHeight });
    });
    observer.observe(element);
    charts.set(element, { plot, text, observer });
  };

  const forget = (element) => {
    const chart = charts.get(element);
    if (!chart) return;
    chart.observer.disconnect();
    chart.plot.destroy();
    charts.delete(element);
  };

  const drawAll = (again) => {
    if (!window.uPlot) return;
    for (const element of [...charts.keys()]) if (!element.isConnected) forget(element);
    for (const element of document.querySelectorAll("[data-chart]")) {
      const source = element.parentElement.querySelector(":scope > [data-chart-of]");
      if (!source) continue;
      const chart = charts.get(element);
      if (chart && !again && chart.text === source.textContent) continue;
      forget(element);
      draw(element, source.textContent);
    }
  };

  // ── the heat map ─────────────────────────────────────────────────────────────────────────────────

  const heatAt = (cell) => {
    const table = cell.closest("[data-heat]");
    for (const old of table.querySelectorAll(".at")) old.classList.remove("at");
    cell.classList.add("at");
    const name = cell.parentElement.querySelector("th").textContent;
    const when = table.tHead.rows[0].cells[cell.cellIndex].dataset.full;
    const read = table.closest("section").querySelector("[data-heat-read]");
    read.textContent = `${name}, ${when}: ${cell.textContent}`;
    return cell;
  };

  document.addEventListener("mouseover", (event) => {
    const cell = event.target.closest?.("[data-heat] td");
    if (cell) heatAt(cell);
  });
  document.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const table = move && event.target.matches?.(".heat-scroll") && event.target.querySelector("[data-heat]");
    if (!table) return;
    event.preventDefault();
    const rows = table.tBodies[0].rows;
    const at = table.querySelector(".at");
    const row = at ? at.parentElement.sectionRowIndex + move[0] : 0;
    const column = at ? at.cellIndex + move[1] : rows[0].cells.length - 1;
    const cell = rows[row]?.cells[column];
    if (cell?.tagName === "TD") heatAt(cell).scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  const keepRight = () => {
    for (const element of document.querySelectorAll("[data-keep-right]:not([data-kept])")) {
      element.scrollLeft = element.scrollWidth;
      element.dataset.kept = "";
    }
  };

  // ── live updates ─────────────────────────────────────────────────────────────────────────────────

  // The page is fetched again and the parts whose text the server changed are changed in place. What the
  // person is doing stays: focus, scroll, open details, half-typed forms, drawn charts.
  const served = new Map(); // part name → markup as served last
  const partsOf = (root) => [...root.querySelectorAll("[data-part]")];
  const remember = (root) => {
    served.clear();
    for (const part of partsOf(root)) served.set(part.dataset.part, part.outerHTML);
  };

  const ours = (node) => node.nodeType === 1 && (node.matches(".tip") || node.matches(".plot.drawn"));
  const isBusy = (form) => form.contains(document.activeElement) || [...form.elements].some((e) => ["TEXTAREA", "INPUT"].includes(e.tagName) && e.type !== "hidden" && e.value !== e.defaultValue);
  const kept = { open: (e) => e.tagName === "DETAILS", "data-kept": () => true };

  const morph = (from, to) => {
    if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) { from.replaceWith(document.importNode(to, true)); return; }
    if (from.nodeType !== 1) { if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue; return; }
    if (from.tagName === "FORM" && isBusy(from) && from.getAttribute("action") === to.getAttribute("action")) return;
    if (ours(from)) { if (to.matches(".plot")) from.setAttribute("aria-label", to.getAttribute("aria-label")); return; }
    for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && !kept[name]?.(from)) from.removeAttribute(name);
    for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    const olds = [...from.childNodes].filter((n) => !(n.nodeType === 1 && n.matches(".tip")));
    const news = [...to.childNodes];
    news.forEach((node, i) => (olds[i] ? morph(olds[i], node) : from.append(document.importNode(node, true))));
    for (const extra of olds.slice(news.length)) extra.remove();
  };

  const takeOver = (next) => {
    const here = partsOf(document);
    const there = partsOf(next);
    const sameShape = here.length === there.length && here.every((part, i) => part.dataset.part === there[i].dataset.part);
    if (sameShape) {
      here.forEach((part, i) => {
        const markup = there[i].outerHTML;
        if (served.get(part.dataset.part) === markup) return;
        const rightmost = [...part.querySelectorAll("[data-keep-right]")].filter((e) => e.scrollLeft + e.clientWidth >= e.scrollWidth - 30);
        morph(part, there[i]);
        for (const element of rightmost) element.scrollLeft = element.scrollWidth;
      });
    } else if (![...document.querySelectorAll("main form")].some(isBusy)) {
      morph(document.querySelector("main"), next.querySelector("main"));
    } else {
      return;
    }
    remember(next);
    document.title = next.title;
    drawAll(false);
    keepRight();
  };

  const say = (text) => {
    const place = document.querySelector("[data-live-state]");
    if (place && place.textContent !== text) place.textContent = text;
  };

  const fetchAgain = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "manual" });
      if (answer.type === "opaqueredirect") { say("Signed out: reload the page to go on."); return; }
      if (!answer.ok) { say("Live updates pause: the page could not be fetched."); return; }
      takeOver(new DOMParser().parseFromString(await answer.text(), "text/html"));
      say("Live.");
    } catch {
      say("Live updates pause: the service cannot be reached.");
    }
  };

  const live = async () => {
    await fetchAgain();
    setTimeout(live, 2000);
  };

  // ── start ────────────────────────────────────────────────────────────────────────────────────────

  remember(document);
  drawAll(false);
  keepRight();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(true));
  if (document.querySelector("main[data-live]")) setTimeout(live, 2000);
})();
