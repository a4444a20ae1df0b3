"use strict";
const info = JSON.parse(document.getElementById("info").textContent);
const form = document.getElementById("form"), fields = document.getElementById("fields"), made = document.getElementById("made");
const make = (tag, text, props) => Object.assign(document.createElement(tag), text === undefined ? {} : {textContent: text}, props || {});
const inputs = {};
function field(name, title, hint, input, value) {
  const label = make("label", title);
  input.id = "f-" + name; label.htmlFor = input.id; input.value = value;
  label.append(make("small", hint), input);
  fields.append(label);
  inputs[name] = input;
}
const box = kind => make("input", undefined, {type: kind, autocomplete: "off"});
field("n", "How many", "", box("number"), info.n);
if (info.classes.length) {
  const select = make("select");
  select.append(make("option", "(as in the data)", {value: ""}));
  for (const label of info.classes) select.append(make("option", label, {value: label}));
  field("condition", "Condition", "What they shall be", select, "");
} else if (info.makes === "table") {
  field("condition", "Condition", "column=value, column=value", box("text"), "");
} else if (info.makes === "texts") {
  field("condition", "Beginning", "How the text begins", box("text"), "");
}
field("seed", "Seed", "Equal seeds, equal samples", box("number"), 0);
if (info.makes === "images" || info.makes === "rows") field("truncation", "Truncation", "Below 1: more usual, less varied", box("number"), "");
if (inputs.truncation) inputs.truncation.step = "0.05";
field("options", "Options", info.makes === "texts" ? "length=300, temperature=0.8" : "name=value, name=value", box("text"), "");
function value(text) {
  try { return JSON.parse(text); } catch (error) { return text; }
}
function pairs(text) {
  const told = {};
  for (const part of text.split(",")) {
    const at = part.indexOf("=");
    if (at > 0) told[part.slice(0, at).trim()] = value(part.slice(at + 1).trim());
  }
  return told;
}
function request() {
  const told = {n: Number(inputs.n.value) || 1};
  if (inputs.condition && inputs.condition.value !== "") {
    told.condition = info.makes === "table" ? pairs(inputs.condition.value) : inputs.condition.value;
  }
  if (inputs.seed.value !== "") told.seed = Number(inputs.seed.value);
  if (inputs.truncation && inputs.truncation.value !== "") told.truncation = Number(inputs.truncation.value);
  const options = pairs(inputs.options.value);
  if (Object.keys(options).length) told.options = options;
  return told;
}
const quoted = text => "'" + text.replaceAll("'", "'\\''") + "'";
function show() {
  document.getElementById("curl").textContent = "curl " + location.origin + "/v1/sample -H 'Content-Type: application/json' -d " + quoted(JSON.stringify(request()));
}
const figure = cell => cell === null ? "" : typeof cell === "number" ? cell.toLocaleString("en", {maximumSignificantDigits: 6}) : typeof cell === "object" ? JSON.stringify(cell) : String(cell);
function rows(samples) {
  const table = make("table"), head = make("tr"), names = Object.keys(samples[0] || {});
  for (const name of names) head.append(make("th", name, {scope: "col"}));
  table.append(make("thead"), make("tbody"));
  table.tHead.append(head);
  for (const sample of samples.slice(0, 200)) {
    const row = make("tr");
    for (const name of names) row.append(make("td", figure(sample[name])));
    table.tBodies[0].append(row);
  }
  const scroll = make("div", undefined, {className: "scroll"});
  scroll.append(table);
  return scroll;
}
async function ask() {
  show();
  const answer = document.getElementById("told");
  let told;
  answer.className = ""; answer.textContent = "Making …";
  try {
    const came = await fetch("/v1/sample", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(request())});
    told = await came.json();
  } catch (error) { told = {error: {message: "The server does not answer."}}; }
  made.replaceChildren(); made.className = "";
  if (told.error) { answer.className = "bad"; answer.textContent = told.error.message; return; }
  answer.textContent = told.n + (told.n === 1 ? " sample" : " samples") + (told.seed === undefined ? "" : ", seed " + told.seed);
  if (told.makes === "images") {
    made.className = "grid";
    for (const [i, image] of told.samples.entries()) made.append(make("img", undefined, {src: image, alt: "sample " + (i + 1)}));
  } else if (told.makes === "pieces") {
    for (const [i, midi] of told.samples.entries()) made.append(make("p").appendChild(make("a", "sample_" + i + ".mid", {href: midi, download: "sample_" + i + ".mid"})).parentNode);
  } else if (told.makes === "levels") {
    for (const level of told.samples) made.append(make("pre", level.map(row => typeof row === "string" ? row : row.join(" ")).join("\n")));
  } else if (told.samples.length && typeof told.samples[0] === "object") {
    made.append(rows(told.samples));
  } else {
    for (const text of told.samples) made.append(make("pre", text));
  }
}
form.addEventListener("submit", event => { event.preventDefault(); ask(); });
document.getElementById("other").addEventListener("click", () => { inputs.seed.value = Math.floor(Math.random() * 1e6); ask(); });
form.addEventListener("input", show);
ask();
