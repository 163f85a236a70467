// The page: one conversation on view, any number of answers under way.
import { Answer } from "./answer.js";
import { getJson } from "./api.js";
import * as store from "./conversations.js";
import { announce, byId, element, icon } from "./dom.js";
import { EngineView } from "./engine_view.js";
import { Layout } from "./layout.js";
import { assistantView, userView } from "./message_view.js";
import { openSettings, settings } from "./settings.js";

const EXAMPLES = ["What's deep learning?", "Explain attention in three sentences.", "Write a Python function that reverses a list.", "What is a prime number?"];
const SAVE_MS = 1000;
const NEAR_END = 48; // pixels from the end at which the page follows an answer

const question = byId("question"), scroller = byId("scroller"), messages = byId("messages");
const answers = new Map(); // under way, by the id of their conversation
let conversation = store.newConversation();
let model = "latent8";
let follows = true; // the end of the conversation stays in sight

const engine = new EngineView(() => layout.toggle("engine"));
const layout = new Layout((isOpen) => engine.open(isOpen));

const currentAnswer = () => answers.get(conversation.id);

// ---- what is on view

function show(next) {
  conversation = next;
  const hash = next.messages.length > 0 ? `#${next.id}` : "";
  if (location.hash !== hash) history.pushState(null, "", hash || location.pathname);
  messages.replaceChildren(...next.messages.map(viewOf));
  follows = true;
  update();
  showList();
}

function viewOf(message, index) {
  if (message.role === "user") return userView(message, (text) => askAgain(index, text));
  const view = assistantView(message, { onRetry: () => askAgain(index), onSettings: () => changeSettings("key") });
  view.show(currentAnswer()?.message === message);
  return view;
}

function update() {
  const answer = currentAnswer();
  byId("welcome").hidden = conversation.messages.length > 0;
  byId("title").textContent = conversation.title || model;
  document.title = conversation.title ? `${conversation.title} - latent8` : "latent8";
  document.body.classList.toggle("answering", answer !== undefined);
  byId("send").setAttribute("aria-label", answer ? "Stop" : "Send");
  byId("speed").textContent = answer?.speed ? `${answer.speed.toFixed(1)} tokens/s` : "";
  if (follows) scroller.scrollTop = scroller.scrollHeight;
  showEndButton();
}

function showEndButton() {
  byId("to-end").hidden = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 4 * NEAR_END;
}

// ---- asking

function ask(text) {
  if (!text || currentAnswer()) return;
  conversation.messages.push({ role: "user", content: text });
  messages.append(viewOf(conversation.messages.at(-1), conversation.messages.length - 1));
  answer();
}

// Everything from a message on goes; a question comes with its text, an answer is made anew.
function askAgain(index, text) {
  currentAnswer()?.stop();
  answers.delete(conversation.id);
  conversation.messages.length = index;
  while (messages.childNodes.length > index) messages.lastChild.remove();
  if (text === undefined) answer();
  else ask(text);
  question.focus();
}

function answer() {
  const next = new Answer(conversation, onAnswer);
  answers.set(conversation.id, next);
  next.run(); // its message is there when this returns
  messages.append(viewOf(next.message, conversation.messages.length - 1));
  conversation.time = Date.now();
  follows = true;
  save(conversation);
  show(conversation);
  announce("Answering");
}

// Many pieces may come within one frame: it is painted once.
let dirty = null;
function onAnswer(changed) {
  const { conversation: owner } = changed;
  if (answers.get(owner.id) !== changed) return; // given up
  if (changed.ended) {
    answers.delete(owner.id);
    save(owner);
    if (owner === conversation) announce(changed.message.error ? "The answer failed" : "The answer is complete");
  } else if (performance.now() - (changed.savedAt ?? 0) > SAVE_MS) {
    changed.savedAt = performance.now();
    save(owner);
  }
  dirty ??= requestAnimationFrame(() => {
    dirty = null;
    messages.lastChild?.show?.(currentAnswer() !== undefined);
    update();
  });
}

function save(changed) {
  const stored = store.saveConversation(changed);
  byId("storage-note").textContent = stored ? "Conversations stay in this browser." : "The browser stores nothing: conversations end with this page.";
  showList();
}

// ---- the list

let listed = "";
function showList() {
  const all = store.listConversations();
  const now = JSON.stringify([conversation.id, ...all.map(({ id, title }) => [id, title])]);
  if (now === listed) return;
  listed = now;
  byId("conversations").replaceChildren(...all.map(({ id, title }) => element("li", {},
    element("button", { type: "button", class: "open", "aria-current": id === conversation.id ? "true" : null, onclick: () => open(id) }, title),
    deleteButton(id, title))));
}

// The first press asks, the second deletes.
function deleteButton(id, title) {
  const button = element("button", { type: "button", class: "icon-button", "aria-label": `Delete ${title}` }, icon("trash"));
  button.addEventListener("click", () => {
    if (button.classList.contains("sure")) return remove(id);
    button.classList.add("sure");
    button.replaceChildren("Delete");
    button.setAttribute("aria-label", `Really delete ${title}`);
  });
  button.addEventListener("blur", () => {
    button.classList.remove("sure");
    button.replaceChildren(icon("trash"));
  });
  return button;
}

function open(id) {
  const chosen = answers.get(id)?.conversation ?? store.loadConversation(id);
  if (chosen) show(chosen);
  layout.closeDrawers();
  question.focus();
}

function remove(id) {
  answers.get(id)?.stop();
  answers.delete(id);
  store.deleteConversation(id);
  if (id === conversation.id) show(store.newConversation());
  showList();
  question.focus();
}

function startNew() {
  show(store.newConversation());
  layout.closeDrawers();
  question.focus();
}

// ---- settings and the model

function changeSettings(first) {
  openSettings({
    first,
    onChange: () => {
      loadModel();
      engine.schedule();
    },
    onDeleteAll: (event) => {
      const { target } = event;
      if (!target.classList.contains("sure")) {
        target.classList.add("sure");
        target.textContent = "Really delete all of them";
        return;
      }
      for (const running of answers.values()) running.stop();
      answers.clear();
      for (const { id } of store.listConversations()) store.deleteConversation(id);
      byId("settings-dialog").close();
      startNew();
    },
  });
}

async function loadModel() {
  try {
    model = (await getJson("v1/models", settings.key)).data[0].id;
    byId("model-name").textContent = model;
  } catch (error) {
    if (error.status === 401) changeSettings("key");
  }
  update();
}

// ---- what people do

const actions = {
  new: startNew,
  settings: () => changeSettings(),
  theme: () => showThemeLabel(nextTheme()),
  "toggle-sidebar": () => layout.toggle("sidebar"),
  "toggle-engine": () => layout.toggle("engine"),
  "close-panels": () => layout.closeDrawers(),
  "to-end": () => {
    follows = true;
    update();
  },
};

function showThemeLabel(theme) {
  byId("theme-button").setAttribute("aria-label", `Theme: ${theme}`);
  byId("theme-button").title = `Theme: ${theme}`;
}

function fitQuestion() {
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}

function submit() {
  const text = question.value.trim();
  if (!text || currentAnswer()) return;
  question.value = "";
  fitQuestion();
  ask(text);
}

document.addEventListener("click", (event) => actions[event.target.closest?.("[data-action]")?.dataset.action]?.());
byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  if (currentAnswer()) currentAnswer().stop();
  else submit();
  question.focus();
});
question.addEventListener("input", fitQuestion);
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit();
  } else if (event.key === "ArrowUp" && question.value === "") {
    event.preventDefault();
    [...messages.children].reverse().find((view) => view.edit)?.edit();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || byId("settings-dialog").open) return;
  if (!layout.closeDrawers()) currentAnswer()?.stop();
});
scroller.addEventListener("scroll", () => {
  follows = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END;
  showEndButton();
}, { passive: true });
addEventListener("popstate", () => open(location.hash.slice(1)));
addEventListener("pagehide", () => {
  for (const { conversation: owner } of answers.values()) store.saveConversation(owner);
});
store.onOtherWindow(showList);

byId("examples").append(...EXAMPLES.map((text) => element("button", { type: "button", class: "example", onclick: () => ask(text) }, text)));
showThemeLabel(document.documentElement.dataset.theme);
show(store.loadConversation(location.hash.slice(1)) ?? conversation);
layout.start();
loadModel();
if (layout.isWide) question.focus();
