// The page of all doors: asks for their states every second, and for one small picture after the other.
"use strict";

const ASK_MS = 1000;
const PATIENCE_MS = 3000;
const RETRY_MS = 2000;
const body = document.body;
const tiles = [...document.querySelectorAll(".tile")];
const PICTURE_MS = Math.max(500, 100 * tiles.length); // however many doors, ten pictures a second
const title = document.title;

function set(id, text) {
  document.getElementById(id).textContent = text;
}

function fill(tile, key, text) {
  tile.querySelector(`[data-shows="${key}"]`).textContent = text;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text ?? "";
  return made;
}

function show(tile, door) {
  tile.dataset.state = door.state;
  tile.dataset.door = door.door;
  tile.dataset.fresh = door.fresh;
  for (const key of ["state_text", "reason_text", "door_text", "openings", "denials"]) fill(tile, key, door[key]);
  fill(tile, "people", Object.values(door.people).reduce((sum, count) => sum + count, 0));
  fill(tile, "fps", door.fps.toFixed(1));
  fill(tile, "latency_ms", door.fresh ? door.latency_ms : "–");
  for (const [part, health] of Object.entries(door.health)) {
    const shown = tile.querySelector(`[data-part="${part}"]`);
    shown.dataset.is = health.is;
    shown.title = health.text;
  }
}

function showAll(now) {
  const doors = Object.values(now.doors);
  for (const tile of tiles) show(tile, now.doors[tile.dataset.name]);
  const faults = doors.filter((door) => door.state === "fault").length;
  set("sum-open", doors.filter((door) => door.door === "open").length);
  set("sum-fault", faults);
  document.getElementById("sum-fault").dataset.bad = faults > 0;
  for (const key of ["openings", "denials"]) set(`sum-${key}`, doors.reduce((sum, door) => sum + door[key], 0));
  document.title = faults ? `⚠ ${faults} · ${title}` : title;
  const lines = now.history.map((event) => {
    const line = element("li");
    line.dataset.state = event.state;
    line.append(element("time", event.time.slice(11)), element("b", `${event.name} · ${event.state_text}`), element("span", event.reason_text));
    return line;
  });
  document.getElementById("history").replaceChildren(...(lines.length ? lines : [element("li", body.dataset.none)]));
}

function showSilence() {
  for (const tile of tiles) {
    tile.dataset.state = "fault";
    tile.dataset.fresh = false;
    fill(tile, "state_text", body.dataset.silent);
    fill(tile, "reason_text", "");
  }
  for (const key of ["open", "fault", "openings", "denials"]) set(`sum-${key}`, "–");
}

async function ask() {
  try {
    const answer = await fetch("/api/doors", { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.status === 401) location.assign("/login");
    if (!answer.ok) throw new Error(answer.status);
    showAll(await answer.json());
  } catch {
    showSilence();
  }
  setTimeout(ask, ASK_MS);
}

function look(tile) {
  const image = tile.querySelector("img");
  let number = 0;
  const next = () => {
    if (document.hidden) setTimeout(next, RETRY_MS); // nobody looks: the gate need not draw
    else image.src = `${tile.dataset.path}tile.jpg?${++number}`;
  };
  image.addEventListener("load", () => {
    image.hidden = false;
    setTimeout(next, PICTURE_MS);
  });
  image.addEventListener("error", () => {
    image.hidden = true;
    setTimeout(next, RETRY_MS);
  });
  next();
}

ask();
tiles.forEach(look);
