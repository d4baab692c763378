// The page of whoever puts a camera up: what is to be changed, and the zone, which is drawn here and
// given as lines to paste. Nothing is sent to the gate.
"use strict";

const ASK_MS = 1000;
const PATIENCE_MS = 3000;
const WHOLE = [[0, 0], [1, 0], [1, 1], [0, 1]];
const LEAST_CORNERS = 3;
const STEP = 0.01; // of the picture, for each press of an arrow key
const body = document.body;
const image = document.getElementById("live");
const drawing = document.getElementById("zone");
const configured = JSON.parse(body.dataset.zone);
let zone = configured;
let size = null; // of the picture, width and height

function shape(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function fill(id, texts, state) {
  document.getElementById(id).replaceChildren(...texts.map((text) => {
    const line = document.createElement("li");
    line.textContent = text;
    if (state) line.dataset.is = state;
    return line;
  }));
}

async function ask() {
  try {
    const answer = await fetch("api/aim", { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.status === 401) location.assign(`/login?to=${location.pathname}`);
    if (!answer.ok) throw new Error(answer.status);
    const { facts, advice } = await answer.json();
    fill("facts", facts);
    fill("advice", advice.length ? advice : [body.dataset.well], advice.length ? "problem" : "ok");
  } catch {
    fill("facts", []);
    fill("advice", [body.dataset.silent], "problem");
  }
  setTimeout(ask, ASK_MS);
}

const limited = (part) => Math.min(Math.max(part, 0), 1);
const rounded = (part) => Number(part.toFixed(3));

function yaml() {
  const points = zone.map((point) => `[${point.map(rounded).join(", ")}]`).join(", ");
  const lines = ["policy:", `  zone: [${points}]`];
  if (!body.dataset.door) return lines.join("\n");
  return ["doors:", `  ${body.dataset.door}:`, ...lines.map((line) => `    ${line}`)].join("\n");
}

function place(event) {
  const box = drawing.getBoundingClientRect();
  return [limited((event.clientX - box.left) / box.width), limited((event.clientY - box.top) / box.height)];
}

function move(number, point) {
  zone = zone.map((corner, index) => (index === number ? point : corner));
  draw();
}

function remove(number) {
  if (zone.length > LEAST_CORNERS) zone = zone.filter((_, index) => index !== number);
  draw();
}

function add(number, point) {
  zone = [...zone.slice(0, number), point, ...zone.slice(number)];
}

// The element under the pointer is drawn anew while it moves, so the whole drawing follows it.
function follow(event, number) {
  event.preventDefault();
  drawing.setPointerCapture(event.pointerId);
  drawing.onpointermove = (moved) => move(number, place(moved));
  drawing.onpointerup = drawing.onpointercancel = () => { drawing.onpointermove = null; };
}

function press(event, number) {
  const [x, y] = zone[number];
  const steps = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
  if (event.key === "Delete") remove(number);
  else if (steps[event.key]) move(number, [limited(x + steps[event.key][0]), limited(y + steps[event.key][1])]);
  else return;
  event.preventDefault();
  drawing.querySelectorAll(".corner")[Math.min(number, zone.length - 1)].focus();
}

function draw() {
  document.getElementById("yaml").textContent = yaml();
  if (!size) return;
  const [width, height] = size;
  const radius = Math.max(width, height) / 55;
  const pixels = ([x, y]) => [x * width, y * height];
  const parts = [shape("polygon", { points: zone.map(pixels).join(" ") })];
  zone.forEach((corner, number) => {
    const next = zone[(number + 1) % zone.length];
    const between = [(corner[0] + next[0]) / 2, (corner[1] + next[1]) / 2];
    const [x, y] = pixels(between);
    const dot = shape("circle", { class: "between", cx: x, cy: y, r: radius / 2 });
    dot.addEventListener("pointerdown", (event) => {
      add(number + 1, between);
      follow(event, number + 1);
    });
    parts.push(dot);
  });
  zone.forEach((corner, number) => {
    const [x, y] = pixels(corner);
    const dot = shape("circle", { class: "corner", cx: x, cy: y, r: radius, tabindex: 0 });
    dot.addEventListener("pointerdown", (event) => follow(event, number));
    dot.addEventListener("keydown", (event) => press(event, number));
    parts.push(dot);
  });
  drawing.replaceChildren(...parts);
}

// Corners are drawn anew between the two clicks, so what is meant is found by its place.
drawing.addEventListener("dblclick", (event) => {
  const box = drawing.getBoundingClientRect();
  const far = ([x, y]) => Math.hypot(event.clientX - box.left - x * box.width, event.clientY - box.top - y * box.height);
  const nearest = zone.reduce((best, corner, number) => (far(corner) < far(zone[best]) ? number : best), 0);
  if (far(zone[nearest]) < box.width / 40) remove(nearest);
});

function measure() {
  const { naturalWidth: width, naturalHeight: height } = image;
  if (width && (!size || size[0] !== width || size[1] !== height)) {
    size = [width, height];
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    draw();
  }
}

document.getElementById("whole").addEventListener("click", () => { zone = WHOLE; draw(); });
document.getElementById("configured").addEventListener("click", () => { zone = configured; draw(); });
document.getElementById("copy").addEventListener("click", async () => {
  getSelection().selectAllChildren(document.getElementById("yaml")); // where copying is not allowed
  await navigator.clipboard?.writeText(`${yaml()}\n`).catch(() => {});
});
image.addEventListener("error", () => setTimeout(() => { image.src = `aim.mjpg?${Date.now()}`; }, 3000));
setInterval(measure, 200); // a live picture is never quite loaded
draw();
ask();
