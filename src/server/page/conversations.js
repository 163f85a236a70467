// Conversations in the browser's storage, one entry each. What is stored there is checked when it is read.

const PREFIX = "latent8.conversation.";
const MAX_CONVERSATIONS = 200;
const TITLE_LENGTH = 60;

const isText = (value) => typeof value === "string";

function readMessage(given) {
  if (!given || !["user", "assistant"].includes(given.role) || !isText(given.content)) return null;
  const message = { role: given.role, content: given.content };
  if (isText(given.reasoning)) message.reasoning = given.reasoning;
  if (isText(given.error)) message.error = given.error;
  if (isText(given.finish)) message.finish = given.finish;
  for (const name of ["tokens", "speed", "firstToken", "thought"]) {
    if (Number.isFinite(given[name])) message[name] = given[name];
  }
  return message;
}

function readConversation(text) {
  try {
    const given = JSON.parse(text);
    const messages = given.messages.map(readMessage);
    if (!isText(given.id) || !isText(given.title) || !Number.isFinite(given.time) || messages.includes(null)) return null;
    return { id: given.id, title: given.title, time: given.time, messages };
  } catch {
    return null;
  }
}

export function newConversation() {
  const random = crypto.getRandomValues(new Uint32Array(2));
  return { id: [...random].map((word) => word.toString(36)).join(""), title: "", time: Date.now(), messages: [] };
}

function storedKeys() {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  } catch {
    return [];
  }
}

// The latest first.
export function listConversations() {
  return storedKeys()
    .map((key) => readConversation(localStorage.getItem(key)))
    .filter((conversation) => conversation !== null)
    .sort((a, b) => b.time - a.time);
}

export function loadConversation(id) {
  try {
    return readConversation(localStorage.getItem(PREFIX + id));
  } catch {
    return null;
  }
}

// Where the storage is full, the oldest others make room. false: nothing could be stored.
export function saveConversation(conversation) {
  if (conversation.messages.length === 0) return true;
  conversation.title ||= conversation.messages[0].content.trim().split("\n", 1)[0].slice(0, TITLE_LENGTH);
  const oldest = listConversations().filter((other) => other.id !== conversation.id).reverse();
  while (oldest.length >= MAX_CONVERSATIONS) deleteConversation(oldest.shift().id);
  for (;;) {
    try {
      localStorage.setItem(PREFIX + conversation.id, JSON.stringify(conversation));
      return true;
    } catch {
      if (oldest.length === 0) return false;
      deleteConversation(oldest.shift().id);
    }
  }
}

export function deleteConversation(id) {
  try {
    localStorage.removeItem(PREFIX + id);
  } catch {
    // nothing is stored then
  }
}

// Another window of the same browser changed something.
export function onOtherWindow(callback) {
  addEventListener("storage", (event) => {
    if (event.key === null || event.key.startsWith(PREFIX)) callback();
  });
}
