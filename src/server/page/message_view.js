// A message of a conversation on the page.
import { copyButton, element, icon, iconButton } from "./dom.js";
import { renderMarkdown } from "./markdown.js";

const FINISHES = { length: "cut at its longest length", stopped: "stopped", abort: "ended by the server" };

const seconds = (time) => (time < 10 ? `${time.toFixed(1)} s` : `${Math.round(time)} s`);

function statistics(message) {
  const parts = [];
  if (message.tokens !== undefined) parts.push(message.tokens === 1 ? "1 token" : `${message.tokens} tokens`);
  if (message.speed !== undefined) parts.push(`${message.speed.toFixed(1)} tokens/s`);
  if (message.firstToken !== undefined) parts.push(`first after ${message.firstToken.toFixed(2)} s`);
  if (FINISHES[message.finish]) parts.push(FINISHES[message.finish]);
  return parts;
}

// onEdit(text): ask again with another text.
export function userView(message, onEdit) {
  const text = element("div", { class: "bubble" }, message.content);
  const view = element("article", { class: "message user", "aria-label": "You" }, text);
  const actions = element("div", { class: "actions" },
    copyButton("Copy the question", () => message.content),
    iconButton("edit", "Edit the question", () => edit()));
  function edit() {
    const field = element("textarea", { "aria-label": "The question, edited", rows: Math.min(message.content.split("\n").length + 1, 12) });
    field.value = message.content;
    const close = () => {
      view.replaceChildren(text, actions);
      actions.lastChild.focus();
    };
    const send = () => (field.value.trim() ? onEdit(field.value.trim()) : close());
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
      else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    view.replaceChildren(element("div", { class: "editor" }, field, element("div", { class: "editor-actions" },
      element("button", { type: "button", class: "text-button", onclick: close }, "Cancel"),
      element("button", { type: "button", class: "primary", onclick: send }, "Ask again"))));
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }
  view.edit = edit;
  view.append(actions);
  return view;
}

// view.show(busy): the message as it is now.
export function assistantView(message, { onRetry, onSettings }) {
  const thought = element("div", { class: "thought" });
  const label = element("span");
  const details = element("details", { class: "reasoning" }, element("summary", {}, icon("chevron"), label), thought);
  const content = element("div", { class: "content" });
  const error = element("div", { class: "error", role: "alert" });
  const footer = element("div", { class: "actions" });
  const view = element("article", { class: "message assistant", "aria-label": "Answer" }, details, content, error, footer);

  view.show = (busy) => {
    const thinking = busy && message.content === "";
    view.classList.toggle("busy", busy);
    view.classList.toggle("waiting", thinking && !message.reasoning);
    details.hidden = !message.reasoning;
    details.classList.toggle("thinking", thinking);
    label.textContent = thinking ? "Thinking" : message.thought === undefined ? "Thoughts" : `Thought for ${seconds(message.thought)}`;
    if (details.open) renderMarkdown(thought, message.reasoning ?? "");
    renderMarkdown(content, message.content);
    error.hidden = !message.error;
    if (!busy) finish();
  };
  details.addEventListener("toggle", () => details.open && renderMarkdown(thought, message.reasoning ?? ""));

  function finish() {
    const needsKey = message.error?.includes("API key");
    error.replaceChildren(...(message.error ? [element("p", {}, message.error)] : []),
      ...(needsKey ? [element("button", { type: "button", class: "text-button", onclick: onSettings }, "Open the settings")] : []));
    footer.replaceChildren(
      ...(message.content ? [copyButton("Copy the answer", () => message.content)] : []),
      iconButton("retry", "Answer again", onRetry),
      element("span", { class: "statistics" }, ...statistics(message).map((part) => element("span", {}, part))));
  }
  return view;
}
