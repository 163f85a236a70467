// Markdown as models write it, to DOM nodes: headings, paragraphs, lists, quotes, tables, rules, fenced code.
import { copyButton, element } from "./dom.js";
import { highlight } from "./highlight.js";
import { parseInline } from "./inline.js";

const MAX_DEPTH = 12;
const FENCE = /^ {0,3}(`{3,}|~{3,})([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]|$)/;
const RULE = /^ {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +|$)/;
const TABLE_RULE = /^\|? *:?-+:? *(?:\| *:?-+:? *)*\|?$/; // of a trimmed line

const isBlank = (line) => line.trim() === "";

// Each of these takes the lines and where a block may begin, and returns {end, node} if it does.
const BLOCKS = [fence, heading, rule, quote, list, table];

// Whether a block that is no paragraph begins here.
function begins(lines, at) {
  return [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(lines[at])) || isTable(lines, at);
}

function isTable(lines, at) {
  return lines[at].includes("|") && TABLE_RULE.test((lines[at + 1] ?? "").trim());
}

function fence(lines, at) {
  const open = FENCE.exec(lines[at]);
  if (!open) return null;
  let end = at + 1;
  const closes = (line) => line.trim().startsWith(open[1]) && line.trim().replaceAll(open[1][0], "") === "";
  while (end < lines.length && !closes(lines[end])) end++;
  const code = lines.slice(at + 1, end).join("\n");
  const language = open[2].trim().split(/\s/, 1)[0];
  return { end: Math.min(end + 1, lines.length), node: () => codeBlock(code, language) };
}

function codeBlock(code, language) {
  const head = element("div", { class: "code-head" }, element("span", {}, language || "text"),
    copyButton("Copy the code", () => code));
  const body = element("pre", { tabindex: "0", "aria-label": `${language || "text"} code` },
    element("code", {}, ...highlight(code, language)));
  return element("div", { class: "code-block" }, head, body);
}

function heading(lines, at) {
  const found = HEADING.exec(lines[at]);
  if (!found) return null;
  const text = lines[at].slice(found[0].length).trim().replace(/ #+$/, "");
  // The page has h1 and h2 of its own.
  const level = Math.min(found[1].length + 2, 6);
  return { end: at + 1, node: () => element(`h${level}`, {}, ...parseInline(text)) };
}

function rule(lines, at) {
  return RULE.test(lines[at]) ? { end: at + 1, node: () => element("hr") } : null;
}

function quote(lines, at, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end++;
  if (end === at) return null;
  const inside = lines.slice(at, end).map((line) => line.replace(QUOTE, ""));
  return { end, node: () => element("blockquote", {}, ...nodesOf(inside, depth + 1)) };
}

function list(lines, at, depth) {
  const first = ITEM.exec(lines[at]);
  if (!first) return null;
  const ordered = /\d/.test(first[2]);
  const items = [];
  let end = at;
  for (;;) {
    const found = ITEM.exec(lines[end] ?? "");
    if (!found || /\d/.test(found[2]) !== ordered || found[1].length > first[1].length + 3) break;
    if (RULE.test(lines[end])) break;
    const indent = Math.max(found[1].length + found[2].length + Math.min(found[3].length, 4), 2);
    const item = [lines[end++].slice(found[0].length)];
    end = takeItem(lines, end, indent, item);
    items.push(item);
    let next = end;
    while (next < lines.length && isBlank(lines[next])) next++;
    if (next > end && ITEM.test(lines[next] ?? "")) end = next;
  }
  if (items.length === 0) return null;
  const start = ordered ? Number.parseInt(first[2], 10) : 1;
  const node = () => element(ordered ? "ol" : "ul", { start: start === 1 ? null : start },
    ...items.map((item) => listItem(item, depth)));
  return { end, node };
}

// The lines that belong to an item: indented ones, and those that go on with its paragraph. Returns the end.
function takeItem(lines, at, indent, item) {
  let end = at;
  for (let i = at; i < lines.length; i++) {
    const line = lines[i];
    if (isBlank(line)) {
      item.push("");
      continue;
    }
    const spaces = line.length - line.trimStart().length;
    const goesOn = !isBlank(lines[i - 1]) && !begins(lines, i);
    if (spaces < 2 && !goesOn) break;
    item.push(line.slice(Math.min(spaces, indent)));
    end = i + 1;
  }
  item.length = 1 + (end - at);
  return end;
}

// A list without blank lines has no paragraphs in its items.
function listItem(item, depth) {
  const nodes = nodesOf(item, depth + 1);
  const tight = !item.slice(0, -1).some(isBlank);
  return element("li", {}, ...nodes.flatMap((node) => (tight && node.tagName === "P" ? [...node.childNodes] : [node])));
}

function table(lines, at) {
  if (!isTable(lines, at)) return null;
  const head = cells(lines[at]);
  const sides = cells(lines[at + 1]).map((rule) => (!rule.endsWith(":") ? null : rule.startsWith(":") ? "center" : "right"));
  if (sides.length !== head.length) return null;
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|")) end++;
  const row = (line, tag) => element("tr", {}, ...head.map((_, i) =>
    element(tag, { class: sides[i] }, ...parseInline(cells(line)[i] ?? ""))));
  const node = () => element("div", { class: "table-block", tabindex: "0", role: "region", "aria-label": "Table" },
    element("table", {}, element("thead", {}, row(lines[at], "th")),
      element("tbody", {}, ...lines.slice(at + 2, end).map((line) => row(line, "td")))));
  return { end, node };
}

function cells(line) {
  const inside = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return inside.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function paragraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && !isBlank(lines[end]) && !begins(lines, end)) end++;
  const text = lines.slice(at, end).map((line) => line.trimStart()).join("\n");
  return { end, node: () => element("p", {}, ...parseInline(text)) };
}

function blocksOf(lines, depth) {
  const blocks = [];
  for (let at = 0; at < lines.length;) {
    if (isBlank(lines[at])) {
      at++;
      continue;
    }
    let block = null;
    if (depth < MAX_DEPTH) for (const kind of BLOCKS) block ??= kind(lines, at, depth);
    block ??= paragraph(lines, at);
    blocks.push({ source: lines.slice(at, block.end).join("\n"), node: block.node });
    at = block.end;
  }
  return blocks;
}

function nodesOf(lines, depth) {
  return blocksOf(lines, depth).map((block) => block.node());
}

const shown = new WeakMap(); // of a container: the sources of its blocks

// Makes the container show `text`. Blocks that are as they were stay, and so does what is selected in them.
export function renderMarkdown(container, text) {
  const blocks = blocksOf(text.replaceAll("\r\n", "\n").replaceAll("\t", "    ").split("\n"), 0);
  const before = shown.get(container) ?? [];
  let same = 0;
  while (same < blocks.length && blocks[same].source === before[same]) same++;
  while (container.childNodes.length > same) container.lastChild.remove();
  container.append(...blocks.slice(same).map((block) => block.node()));
  shown.set(container, blocks.map((block) => block.source));
}
