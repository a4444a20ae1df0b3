"use strict";
const info = JSON.parse(document.getElementById("info").textContent);
const form = document.getElementById("form"), fields = document.getElementById("fields");
const make = (tag, text, props) => Object.assign(document.createElement(tag), text === undefined ? {} : {textContent: text}, props || {});
const inputs = {};
for (const [i, name] of info.shown.entries()) {
  const told = info.properties[name], label = make("label", name), box = "f" + i;
  const levels = told["x-levels"];
  let input;
  if (levels && levels.length) {
    input = make("select");
    input.append(make("option", "(missing)", {value: ""}));
    for (const level of levels) input.append(make("option", level, {value: level}));
  } else {
    input = make("input", undefined, {type: "text", autocomplete: "off", placeholder: "(missing)"});
  }
  input.id = box; label.htmlFor = box;
  const example = info.example[name];
  input.value = example === null || example === undefined ? "" : String(example);
  label.append(make("small", levels ? "" : told.description || ""), input);
  fields.append(label);
  inputs[name] = input;
}
const row = () => Object.assign({}, info.example, Object.fromEntries(info.shown.map(name => {
  const text = inputs[name].value, kind = [].concat(info.properties[name].type || []);
  if (text === "") return [name, null];
  return [name, kind[0] === "number" && text.trim() !== "" && isFinite(Number(text)) ? Number(text) : text];
})));
if (info.hidden) fields.append(make("p", "and " + info.hidden + " more columns, which keep the values of the example"));
const request = explain => Object.assign({row: row()}, info.options, explain ? {explain: 8} : {});
const quoted = text => "'" + text.replaceAll("'", "'\\''") + "'";
function show() {
  document.getElementById("curl").textContent = "curl " + location.origin + "/v1/predict -H 'Content-Type: application/json' -d " + quoted(JSON.stringify(request()));
}
const figure = value => typeof value === "number" ? value.toLocaleString("en", {maximumSignificantDigits: 6}) : typeof value === "object" ? JSON.stringify(value) : String(value);
const short = value => value.toLocaleString("en", {maximumSignificantDigits: 3});
async function ask(explain) {
  show();
  const answer = document.getElementById("answer"), more = document.getElementById("more"), bars = document.getElementById("bars");
  let told, status;
  try {
    const came = await fetch("/v1/predict", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(request(explain))});
    status = came.status;
    told = await came.json();
  } catch (error) { told = {error: {message: "The server does not answer.", fields: []}}; status = 0; }
  document.getElementById("raw").textContent = JSON.stringify(told, null, 2);
  for (const input of Object.values(inputs)) input.parentElement.className = "";
  const reasons = document.getElementById("reasons");
  bars.replaceChildren(); reasons.replaceChildren(); more.textContent = "";
  const because = document.getElementById("because");
  because.hidden = !told.explanation;
  answer.className = told.error ? "bad" : "";
  if (told.error) {
    answer.textContent = told.error.message;
    for (const field of told.error.fields) if (inputs[field.field]) inputs[field.field].parentElement.className = "wrong";
    return;
  }
  answer.textContent = told.columns ? Object.values(told.columns).slice(0, 3).map(figure).join(", ") : figure(told.prediction);
  if (told.name) more.textContent = told.name + ", confidence " + (100 * told.confidence).toFixed(0) + " %";
  if (told.score !== undefined) more.textContent = "score " + figure(told.score) + (told.tail === undefined ? "" : "; " + (100 * told.tail).toPrecision(2) + " % of ordinary rows are odder");
  const lines = Object.entries(told.columns || {}), widest = Math.max(1e-300, ...lines.map(line => Math.abs(line[1])));
  for (const [name, value] of lines.slice(0, 20)) {
    bars.append(make("span", name), make("meter", undefined, {min: 0, max: widest, value: Math.abs(value), title: name}), make("span", short(value)));
  }
  if (told.interval) more.textContent = "between " + figure(told.interval.low) + " and " + figure(told.interval.high) + " in " + Math.round(told.interval.level * 100) + " of 100 cases";
  if (told.notes) more.textContent += " " + told.notes.map(note => note.field + ": " + note.action).join("; ");
  for (const [name, value] of Object.entries(told.probabilities || {}).sort((a, b) => b[1] - a[1]).slice(0, 20)) {
    const meter = make("meter", undefined, {min: 0, max: 1, value: value, title: name});
    bars.append(make("span", name), meter, make("span", (100 * value).toFixed(1) + " %"));
  }
  if (!told.explanation) return;
  const label = told.explanation.label;
  because.textContent = label === null ? "Why" : told.columns ? "What moves " + label : "What moves the probability of " + (told.name || label);
  const parts = told.explanation.contributions, most = Math.max(...parts.map(part => Math.abs(part.contribution))) || 1;
  for (const part of parts) {
    const sign = part.contribution >= 0 ? "+" : "\u2212", kind = part.contribution >= 0 ? "up" : "down";
    const meter = make("meter", undefined, {min: 0, max: most, value: Math.abs(part.contribution), className: kind});
    meter.title = part.column;
    const adds = make("span", sign + short(Math.abs(part.contribution)), {className: kind});
    reasons.append(make("span", part.column + " = " + (part.cell === null ? "missing" : figure(part.cell))), meter, adds);
  }
  reasons.append(make("span", "everything else"), make("span"), make("span", short(told.explanation.rest)));
  reasons.append(make("span", "usual answer"), make("span"), make("span", short(told.explanation.base)));
}
form.addEventListener("submit", event => { event.preventDefault(); ask(false); });
document.getElementById("why").addEventListener("click", () => ask(true));
form.addEventListener("input", show);
ask(false);
