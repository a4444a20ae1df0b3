"use strict";
const info = JSON.parse(document.getElementById("info").textContent);
const body = document.getElementById("body"), told = document.getElementById("told"), made = document.getElementById("made");
const make = (tag, text, props) => Object.assign(document.createElement(tag), text === undefined ? {} : {textContent: text}, props || {});
document.getElementById("path").textContent = "POST " + info.path;
body.value = JSON.stringify(info.body);
for (const [name, hint] of info.fields) document.getElementById("fields").append(make("dt", name), make("dd", hint));
const quoted = text => "'" + text.replaceAll("'", "'\\''") + "'";
function show() {
  document.getElementById("curl").textContent = "curl " + location.origin + info.path + " -H 'Content-Type: application/json' -d " + quoted(body.value);
}
async function ask() {
  show();
  let came;
  told.className = ""; made.replaceChildren();
  try {
    const reply = await fetch(info.path, {method: "POST", headers: {"Content-Type": "application/json"}, body: body.value});
    came = await reply.json();
  } catch (error) { came = {error: {message: "The server does not answer."}}; }
  if (came.error) { told.className = "bad"; told.textContent = came.error.message; return; }
  if (typeof came.image === "string") {
    made.append(make("img", undefined, {src: came.image, alt: "the answer"}));
    came.image = came.image.slice(0, 40) + "...";
  }
  told.textContent = JSON.stringify(came, null, 1);
}
document.getElementById("form").addEventListener("submit", event => { event.preventDefault(); ask(); });
body.addEventListener("input", show);
show();
