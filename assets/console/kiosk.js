// The visitor's page: asks for the state, and shows "out of order" whenever it has no fresh answer.
"use strict";

const ASK_MS = 300;
const PATIENCE_MS = 1500;
const body = document.body;
const image = document.getElementById("live");

function show(state, word, advice) {
  body.dataset.state = state;
  document.getElementById("state").textContent = word;
  document.getElementById("advice").textContent = advice;
}

async function ask() {
  try {
    const answer = await fetch("api/kiosk", { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.status === 401) location.assign(`/login?to=${location.pathname}`);
    if (!answer.ok) throw new Error(answer.status);
    const now = await answer.json();
    show(now.state, now.state_text, now.advice_text);
  } catch {
    show("fault", body.dataset.fault, body.dataset.faultAdvice);
  }
  setTimeout(ask, ASK_MS);
}

image.addEventListener("error", () => setTimeout(() => { image.src = `kiosk.mjpg?${Date.now()}`; }, 3000));
ask();
