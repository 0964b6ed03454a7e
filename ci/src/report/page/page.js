"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const ROW = 20, NS = "http://www.w3.org/2000/svg";
const steps = data.steps; // [insn, frame, line or -1, what changed]
const chain = data.lineage.filter((l) => l.step >= 0).map((l) => l.step);
let now = Math.max(0, steps.length - 1);

function element(tag, text, kind) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (kind) e.className = kind;
  return e;
}
function drawn(tag, attributes, parent) {
  const e = document.createElementNS(NS, tag);
  for (const k in attributes) e.setAttribute(k, attributes[k]);
  parent.appendChild(e);
  return e;
}

// "R1=ctx() R2=scalar(var_off=(0x0; 0xff))" taken apart: blanks inside parentheses belong to the value.
function entries(text) {
  const out = [];
  let depth = 0, from = 0;
  for (let i = 0; i <= text.length; i++) {
    const c = text[i];
    if (c === "(") depth++;
    else if (c === ")") depth--;
    else if (c === undefined || (c === " " && depth === 0)) {
      const word = text.slice(from, i), at = word.indexOf("=");
      if (at > 0) out.push([word.slice(0, at), word.slice(at + 1)]);
      from = i + 1;
    }
  }
  return out;
}

// States are told as changes; every so often the whole is kept.
const EVERY = 512, kept = new Map();
function clone(frames) { return frames.map((f) => new Map(f)); }
function stateAfter(at) {
  let from = -1, frames = [];
  for (let k = Math.floor(at / EVERY) * EVERY; k >= EVERY; k -= EVERY) {
    if (kept.has(k)) { from = k - 1; frames = clone(kept.get(k)); break; }
  }
  for (let i = from + 1; i <= at; i++) {
    if (i > 0 && i % EVERY === 0 && !kept.has(i)) kept.set(i, clone(frames));
    const frame = steps[i][1];
    if (i === 0 || (frame > steps[i - 1][1])) { frames.length = Math.min(frames.length, frame); }
    while (frames.length <= frame) frames.push(new Map());
    if (i === 0 || frame > steps[i - 1][1]) for (const [n, v] of entries(data.begins[i] || "")) frames[frame].set(n, v);
    for (const [name, value] of entries(steps[i][3])) {
      if (value === "") frames[frame].delete(name); else frames[frame].set(name, value);
    }
  }
  return frames[steps[at][1]] || new Map();
}

function facts() {
  $("title").textContent = data.title;
  $("where").textContent = data.where;
  $("message").textContent = data.message.join("\n");
  const add = (name, value, kind) => {
    if (!value) return;
    $("facts").append(element("dt", name), element("dd", value, kind));
  };
  add("Needed", data.needs);
  add("Known", data.knows);
  add("At fault", data.class);
  add("Change", data.fix);
  add(data.verified ? "Verified" : "Tried", data.tried, data.verified ? "verified" : undefined);
  $("lineage-title").textContent = data.register
    ? "How " + data.register + " came to be what it is" : "Where the value came from";
}

function sourceLines() {
  let file = null;
  data.lines.forEach((l, i) => {
    if (l.file !== file) { file = l.file; $("lines").append(element("div", file || "source", "src file")); }
    const row = element("div", undefined, "src");
    row.append(element("b", l.line || ""), document.createTextNode(l.text));
    row.dataset.line = i;
    row.onclick = () => {
      for (let s = steps.length - 1; s >= 0; s--) if (steps[s][2] === i) return go(s);
    };
    $("lines").append(row);
  });
}

// Only the rows in view are in the page.
function paintRows() {
  const box = $("scroll"), first = Math.max(0, Math.floor(box.scrollTop / ROW) - 10);
  const last = Math.min(steps.length, first + Math.ceil(box.clientHeight / ROW) + 30);
  const rows = [];
  for (let i = first; i < last; i++) {
    const [insn, frame] = steps[i];
    const row = element("div", undefined, "row");
    row.append(element("i", String(insn).padStart(5) + "  " + "  ".repeat(frame)), document.createTextNode(data.insns[insn] || ""));
    row.style.top = i * ROW + "px";
    if (chain.includes(i)) row.classList.add("lin");
    if (i === steps.length - 1) row.classList.add("at");
    if (i === now) { row.classList.add("now"); row.setAttribute("aria-current", "step"); }
    row.onclick = () => go(i);
    rows.push(row);
  }
  $("rows").replaceChildren(...rows);
}

function registers() {
  const after = stateAfter(now);
  const changed = new Set(entries(steps[now][3]).map((e) => e[0]));
  const rank = (n) => (n[0] === "R" ? +n.slice(1) : 1000 - parseInt(n.slice(2), 10));
  const names = [...after.keys()].sort((a, b) => rank(a) - rank(b));
  $("registers").replaceChildren(...names.map((name) => {
    const row = element("tr");
    row.append(element("td", name), element("td", after.get(name)));
    if (changed.has(name)) row.classList.add("changed");
    if (name === data.register) row.classList.add("guilty");
    return row;
  }));
  const last = now === steps.length - 1;
  $("state-title").textContent = (last ? "State before the rejected instruction " : "State after instruction ") + steps[now][0]
    + (steps[now][1] ? ", frame " + steps[now][1] : "");
}

function go(to) {
  if (!steps.length) return;
  now = Math.min(steps.length - 1, Math.max(0, to));
  const box = $("scroll"), top = now * ROW;
  if (top < box.scrollTop + ROW || top > box.scrollTop + box.clientHeight - 2 * ROW) {
    box.scrollTop = Math.max(0, top - box.clientHeight / 2);
  }
  paintRows();
  registers();
  const line = steps[now][2];
  document.querySelectorAll(".src.now").forEach((e) => e.classList.remove("now"));
  const row = document.querySelector(`.src[data-line="${line}"]`);
  if (row) { row.classList.add("now"); row.scrollIntoView({ block: "nearest" }); }
  document.querySelectorAll("svg .node").forEach((n) => n.classList.toggle("on", +n.dataset.step === now || covers(n)));
  $("position").textContent = `step ${now + 1} of ${steps.length}`;
}
function covers(n) {
  const insn = steps[now][0];
  return n.dataset.from !== undefined && +n.dataset.from <= insn && insn <= +n.dataset.to;
}

function lineage() {
  const all = data.lineage, high = 46;
  if (!all.length) { $("chain").append(element("p", "Nothing before this instruction made the value.", "faint")); return; }
  const svg = drawn("svg", { width: 900, height: all.length * high + 8, role: "img", "aria-label": "Lineage" }, $("chain"));
  all.forEach((l, i) => {
    const y = i * high + 14;
    if (i) drawn("path", { d: `M20 ${y - high + 7} V ${y - 7}`, class: "on" }, svg);
    const dot = drawn("circle", { cx: 20, cy: y, r: 7, class: "node" + (l.bad ? " bad" : ""), tabindex: 0 }, svg);
    dot.dataset.step = l.step;
    dot.addEventListener("click", () => l.step >= 0 && go(l.step));
    dot.addEventListener("keydown", (e) => e.key === "Enter" && l.step >= 0 && go(l.step));
    drawn("text", { x: 38, y: y + 1 }, svg).textContent = `${l.what} ${l.insn}: ${l.text}`;
    drawn("text", { x: 38, y: y + 17, class: "faint" }, svg).textContent = [l.value, l.source].filter(Boolean).join("   ");
  });
}

// Blocks stand in the order of the instructions; jumps forward run on the right, back on the left.
function graph() {
  const blocks = data.blocks;
  if (!blocks.length) { $("graph").hidden = true; return; }
  const taken = new Set(data.taken.map((e) => e.join(">")));
  const on = new Set(data.taken.flat());
  const lines = (b) => Math.min(b.text.length, 4) + (b.text.length > 4 ? 1 : 0);
  let y = 10;
  const top = blocks.map((b) => { const at = y; y += lines(b) * 15 + 26; return at; });
  const svg = drawn("svg", { width: 1100, height: y + 10, role: "img", "aria-label": "Control flow graph" }, $("blocks"));
  const end = steps.length ? steps[steps.length - 1][0] : -1;
  blocks.forEach((b, i) => b.to_blocks.forEach((j, nth) => {
    const key = i + ">" + j, mid = (k) => top[k] + 10, low = top[i] + lines(blocks[i]) * 15 + 6;
    let d;
    if (j === i + 1) d = `M240 ${low} V ${top[j]}`;
    else {
      const side = j > i ? 1 : -1, x = side > 0 ? 620 : 120, out = x + side * Math.min(20 + 9 * Math.abs(j - i), side > 0 ? 440 : 110);
      d = `M${x} ${low - 8} C ${out} ${low - 8}, ${out} ${mid(j)}, ${x} ${mid(j)}`;
    }
    drawn("path", { d, class: taken.has(key) ? "on" : "" }, svg);
  }));
  blocks.forEach((b, i) => {
    const has = b.from <= end && end <= b.to;
    const box = drawn("rect", { x: 120, y: top[i], width: 500, height: lines(b) * 15 + 6, rx: 4,
      class: "node" + (has ? " bad" : on.has(i) ? " on" : "") }, svg);
    box.dataset.from = b.from; box.dataset.to = b.to;
    box.addEventListener("click", () => {
      for (let s = steps.length - 1; s >= 0; s--) if (b.from <= steps[s][0] && steps[s][0] <= b.to) return go(s);
    });
    b.text.slice(0, 4).concat(b.text.length > 4 ? ["…"] : []).forEach((t, k) => {
      drawn("text", { x: 128, y: top[i] + 14 + k * 15 }, svg).textContent = t.slice(0, 66);
    });
  });
}

function hop(by) {
  const order = by > 0 ? chain : [...chain].reverse();
  const next = order.find((s) => (by > 0 ? s > now : s < now));
  if (next !== undefined) go(next);
}
function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}
function help() {
  const hidden = !$("help").hidden;
  $("help").hidden = hidden;
  $("help-button").setAttribute("aria-expanded", String(!hidden));
}
const keys = {
  j: () => go(now + 1), ArrowDown: () => go(now + 1), k: () => go(now - 1), ArrowUp: () => go(now - 1),
  n: () => hop(1), p: () => hop(-1), g: () => go(0), f: () => go(steps.length - 1), t: theme, "?": help,
};
document.addEventListener("keydown", (e) => {
  const act = keys[e.key];
  if (!act || e.ctrlKey || e.metaKey || e.altKey) return;
  e.preventDefault();
  act();
});
$("theme").onclick = theme;
$("help-button").onclick = help;
$("scroll").addEventListener("scroll", paintRows, { passive: true });
window.addEventListener("resize", paintRows);
$("rows").style.height = steps.length * ROW + "px";
facts(); sourceLines(); lineage(); graph(); go(now);
document.documentElement.dataset.ready = "yes";
