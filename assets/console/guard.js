// The guard's page: asks for the state every second, for chart and events when they may have changed.
"use strict";

const ASK_MS = 1000;
const CHART_MS = 15000;
const PATIENCE_MS = 3000;
const body = document.body;
const image = document.getElementById("live");
const filter = document.getElementById("filter");
const period = document.getElementById("period");
const headings = [...document.querySelectorAll("thead th")].map((heading) => heading.textContent);
const byHand = document.getElementById("by-hand"); // where guards may do something at the door
let newest = null;
let chartTimer = null;

function set(id, text) {
  document.getElementById(id).textContent = text;
}

function element(name, text, state) {
  const made = document.createElement(name);
  made.textContent = text ?? "";
  if (state) made.dataset.state = state;
  return made;
}

async function get(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (answer.status === 401) location.assign(`/login?to=${location.pathname}`);
  if (!answer.ok) throw new Error(answer.status);
  return answer;
}

function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}`;
}

function show(now) {
  body.dataset.state = now.state;
  set("state", now.state_text);
  set("reason", now.reason_text);
  set("door", now.door_text);
  set("faces", now.faces);
  set("fps", now.fps.toFixed(1));
  set("latency", `${now.latency_ms} ms`);
  set("openings", now.openings);
  set("denials", now.denials);
  set("uptime", duration(now.uptime_s));
  if (byHand) {
    byHand.dataset.locked = now.lockdown !== null;
    set("lockdown", now.lockdown);
  }
  for (const [part, health] of Object.entries(now.health)) {
    const shown = document.getElementById(`part-${part}`);
    shown.textContent = health.text;
    shown.dataset.is = health.is;
  }
  const lines = now.history.map((event) => {
    const line = element("li", "", event.state);
    line.append(element("time", event.time.slice(11)), element("b", event.state_text), element("span", event.reason_text));
    return line;
  });
  document.getElementById("history").replaceChildren(...(lines.length ? lines : [element("li", body.dataset.none)]));
  if (now.newest !== newest) {
    newest = now.newest;
    showEvents();
  }
}

async function ask() {
  try {
    show(await (await get("api/state")).json());
  } catch {
    body.dataset.state = "fault";
    set("state", body.dataset.silent);
    set("reason", "");
  }
  setTimeout(ask, ASK_MS);
}

function query() {
  const asked = new URLSearchParams();
  for (const [key, value] of new FormData(filter)) if (value) asked.set(key, value);
  return asked;
}

async function showEvents() {
  const asked = query();
  document.getElementById("csv").href = `events.csv?${asked}`;
  document.getElementById("json").href = `events.json?${asked}`;
  try {
    const events = await (await get(`api/events?${asked}`)).json();
    const rows = events.map((event) => {
      const row = element("tr", "", event.state);
      ["time", "type_text", "state_text", "reason_text", "door_text", "faces"].forEach((key, column) => {
        const cell = element("td", event[key]);
        cell.dataset.heading = headings[column]; // shown where the table is too narrow for a line of headings
        row.append(cell);
      });
      return row;
    });
    document.getElementById("events").replaceChildren(...rows);
  } catch {
    newest = null; // asked again with the next state
  }
}

async function showChart() {
  clearTimeout(chartTimer);
  document.getElementById("counts").href = `counts.csv?period=${period.value}`;
  try {
    const width = document.getElementById("chart").clientWidth;
    const text = await (await get(`api/chart.svg?period=${period.value}&width=${width}`)).text();
    const drawn = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    document.getElementById("chart").replaceChildren(document.importNode(drawn, true));
  } catch {
    // the next one will do
  }
  chartTimer = setTimeout(showChart, CHART_MS);
}

filter.addEventListener("submit", (event) => {
  event.preventDefault();
  showEvents();
});
period.addEventListener("change", showChart);
window.addEventListener("resize", () => { clearTimeout(chartTimer); chartTimer = setTimeout(showChart, 300); });
image.addEventListener("error", () => setTimeout(() => { image.src = `live.mjpg?${Date.now()}`; }, 3000));
ask();
showChart();
