// How to ask: kept in the browser, changed in a dialog.
import { byId, element, iconButton } from "./dom.js";

const KEY = "latent8.settings";
const THINKING = [["auto", "As the model does"], ["on", "Always"], ["off", "Never"]];
const FIELDS = [
  { name: "temperature", label: "Temperature", min: 0, max: 2, step: "any", help: "0 takes the likeliest token" },
  { name: "top_p", label: "Top-p", min: 0.01, max: 1, step: "any", help: "share of the probability that may be drawn" },
  { name: "max_tokens", label: "Longest answer", min: 1, max: 10_000_000, step: 1, help: "tokens, reasoning included" },
];

export let settings = read();

function read() {
  let stored = {};
  try {
    stored = JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    // none, or damaged
  }
  const out = { system: "", key: "", thinking: "auto" };
  for (const name of ["system", "key"]) if (typeof stored[name] === "string") out[name] = stored[name];
  if (THINKING.some(([value]) => value === stored.thinking)) out.thinking = stored.thinking;
  for (const { name, min, max } of FIELDS) {
    const value = stored[name];
    if (Number.isFinite(value) && value >= min && value <= max) out[name] = value;
  }
  return out;
}

function store(changed) {
  settings = changed;
  try {
    localStorage.setItem(KEY, JSON.stringify(changed));
  } catch {
    // they last until the page is left
  }
}

// The body of a request for the next message of a conversation; what is not set is the model's default.
export function requestBody(messages) {
  const body = { messages: settings.system ? [{ role: "system", content: settings.system }, ...messages] : messages };
  for (const { name } of FIELDS) if (settings[name] !== undefined) body[name] = settings[name];
  if (settings.thinking !== "auto") {
    const thinks = settings.thinking === "on";
    body.chat_template_kwargs = { thinking: thinks, enable_thinking: thinks }; // as DeepSeek's and GLM's templates call it
    if (!thinks) body.reasoning_effort = "none";
  }
  return body;
}

function field(label, help, control) {
  const helpId = `${control.id}-help`;
  if (help) control.setAttribute("aria-describedby", helpId);
  return element("div", { class: "field" }, element("label", { for: control.id }, label), control,
    help ? element("p", { class: "quiet", id: helpId }, help) : null);
}

function control(tag, name, attributes, ...children) {
  const node = element(tag, { id: `setting-${name}`, name, autocomplete: "off", ...attributes }, ...children);
  if (tag !== "select") node.value = settings[name] ?? "";
  return node;
}

function collect(form) {
  const data = new FormData(form);
  const changed = { system: data.get("system"), key: data.get("key").trim(), thinking: data.get("thinking") };
  for (const { name } of FIELDS) if (data.get(name) !== "") changed[name] = Number(data.get(name));
  return changed;
}

// first: the field that has the focus; onChange: called when something was saved; onDeleteAll: when all
// conversations shall go.
export function openSettings({ first = "system", onChange, onDeleteAll }) {
  const dialog = byId("settings-dialog");
  const close = () => dialog.close();
  const form = element("form", {
    method: "dialog",
    onsubmit: () => {
      store(collect(form));
      onChange();
    },
  },
  element("header", {}, element("h2", { id: "settings-title" }, "Settings"), iconButton("close", "Close", close)),
  element("div", { class: "fields" },
    field("System prompt", "Comes before every conversation.", control("textarea", "system", { rows: 3 })),
    element("div", { class: "columns" }, ...FIELDS.map(({ name, label, help, ...bounds }) =>
      field(label, help, control("input", name, { type: "number", inputmode: "decimal", placeholder: "default", ...bounds })))),
    field("Thinking", "Where the model's template or the server can switch it.",
      control("select", "thinking", {}, ...THINKING.map(([value, text]) =>
        element("option", { value, selected: settings.thinking === value }, text)))),
    field("API key", "For a server that asks for one. Kept in this browser.",
      control("input", "key", { type: "password", spellcheck: "false" }))),
  element("footer", {},
    element("button", { type: "button", class: "text-button danger", onclick: onDeleteAll }, "Delete all conversations"),
    element("button", { type: "submit", class: "primary" }, "Save")));
  dialog.replaceChildren(form);
  dialog.showModal();
  byId(`setting-${first}`).focus();
}
