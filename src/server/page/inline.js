// Markdown inside a line: code, emphasis, links. Returns nodes; linear in the length of the text.
import { element } from "./dom.js";

const MAX_DEPTH = 12;
const PUNCTUATION = /[!-/:-@[-`{-~]/;
const WORD = /[\p{L}\p{N}]/u;
const MAX_URL = 2048;
const BARE_URL = /^https?:\/\/[^\s<>"'`]+/;
const ANGLE_URL = /^<([a-z]+:[^\s<>]+)>/i;
const TARGET = /^((?:[^\s()]|\([^\s()]*\))+)(?:\s+"[^"]*")?\)/; // url, perhaps "title", )
const EMPHASIS = [["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];
const MATH = [["\\(", "\\)"], ["\\[", "\\]"], ["$$", "$$"]];

// Where a model may send its reader: http, https and mailto, else null.
function safeUrl(text) {
  try {
    const url = new URL(text);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function link(url, children) {
  const href = safeUrl(url);
  if (href === null) return element("span", {}, ...children);
  return element("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
}

class InlineParser {
  constructor(text, depth) {
    this.text = text;
    this.depth = depth;
    this.at = 0;
    this.plain = "";
    this.nodes = [];
    this.hopeless = new Set(); // ends that no text from here on has
  }

  parse() {
    while (this.at < this.text.length) {
      if (!this.special()) this.plain += this.text[this.at++];
    }
    this.flush();
    return this.nodes;
  }

  flush() {
    if (this.plain) this.nodes.push(document.createTextNode(this.plain));
    this.plain = "";
  }

  push(node, end) {
    this.flush();
    this.nodes.push(node);
    this.at = end;
    return true;
  }

  special() {
    const c = this.text[this.at];
    if (c === "\\" || c === "$") return this.math() || this.escape();
    if (c === "`") return this.code();
    if (c === "*" || c === "_" || c === "~") return this.emphasis();
    if (c === "[" || c === "!") return this.bracketLink();
    if (c === "<") return this.angleLink();
    if (c === "h") return this.bareLink();
    if (c === "\n") return this.lineBreak();
    return false;
  }

  // The first place from `from` where `end` stands and fits(place) holds; -1 is remembered.
  find(end, from, fits = () => true) {
    if (this.hopeless.has(end)) return -1;
    for (let i = this.text.indexOf(end, from); i >= 0; i = this.text.indexOf(end, i + 1)) {
      if (fits(i)) return i;
    }
    this.hopeless.add(end);
    return -1;
  }

  escape() {
    const next = this.text[this.at + 1];
    if (this.text[this.at] !== "\\" || next === undefined) return false;
    if (next === "\n") return this.push(element("br"), this.at + 2);
    if (!PUNCTUATION.test(next)) return false;
    this.plain += next;
    this.at += 2;
    return true;
  }

  // Formulas are shown as they were written.
  math() {
    for (const [open, close] of MATH) {
      if (!this.text.startsWith(open, this.at)) continue;
      const end = this.find(close, this.at + open.length);
      if (end < 0) continue;
      const formula = this.text.slice(this.at + open.length, end).trim();
      return this.push(element("code", { class: "math" }, formula), end + close.length);
    }
    return false;
  }

  code() {
    let length = 1;
    while (this.text[this.at + length] === "`") length++;
    const fence = "`".repeat(length);
    const start = this.at + length;
    const end = this.find(fence, start, (i) => this.text[i + length] !== "`" && this.text[i - 1] !== "`");
    if (end < 0) {
      this.plain += fence;
      this.at = start;
      return true;
    }
    let inside = this.text.slice(start, end).replaceAll("\n", " ");
    if (inside.length > 2 && inside.startsWith(" ") && inside.endsWith(" ")) inside = inside.slice(1, -1);
    return this.push(element("code", {}, inside), end + length);
  }

  emphasis() {
    if (this.depth >= MAX_DEPTH) return false;
    for (const [mark, tag] of EMPHASIS) {
      if (!this.text.startsWith(mark, this.at)) continue;
      const start = this.at + mark.length;
      const inWord = mark[0] === "_" && this.at > 0 && WORD.test(this.text[this.at - 1]);
      if (inWord || /\s/.test(this.text[start] ?? " ")) continue;
      const end = this.find(mark, start + 1, (i) => this.closes(mark, i));
      if (end < 0) continue;
      const children = parseInline(this.text.slice(start, end), this.depth + 1);
      return this.push(element(tag, {}, ...children), end + mark.length);
    }
    return false;
  }

  closes(mark, i) {
    if (/\s/.test(this.text[i - 1]) || this.text[i - 1] === "\\") return false;
    const after = this.text[i + mark.length] ?? " ";
    if (mark[0] === "_" && WORD.test(after)) return false;
    return after !== mark[0] && (mark.length > 1 || this.text[i - 1] !== mark);
  }

  // [text](url), and ![text](url) as a link: a picture's address would tell others what was talked about.
  bracketLink() {
    const open = this.text[this.at] === "!" ? this.at + 1 : this.at;
    if (this.text[open] !== "[" || this.depth >= MAX_DEPTH) return false;
    let middle = open + 1;
    while (middle < this.text.length && this.text[middle] !== "[" && this.text[middle] !== "]") middle++;
    if (!this.text.startsWith("](", middle)) return false;
    const target = TARGET.exec(this.text.slice(middle + 2, middle + 2 + MAX_URL));
    if (!target) return false;
    const label = parseInline(this.text.slice(open + 1, middle), this.depth + 1);
    return this.push(link(target[1], label), middle + 2 + target[0].length);
  }

  angleLink() {
    const found = ANGLE_URL.exec(this.text.slice(this.at, this.at + MAX_URL));
    if (!found || safeUrl(found[1]) === null) return false;
    return this.push(link(found[1], [found[1]]), this.at + found[0].length);
  }

  bareLink() {
    if (this.at > 0 && WORD.test(this.text[this.at - 1])) return false;
    const found = BARE_URL.exec(this.text.slice(this.at, this.at + MAX_URL));
    if (!found) return false;
    const last = found[0].includes("(") ? ".,;:!?*_]" : ".,;:!?*_])";
    let end = found[0].length;
    while (last.includes(found[0][end - 1])) end--;
    const url = found[0].slice(0, end);
    return this.push(link(url, [url]), this.at + end);
  }

  lineBreak() {
    if (!this.plain.endsWith("  ")) return false;
    this.plain = this.plain.trimEnd();
    return this.push(element("br"), this.at + 1);
  }
}

export function parseInline(text, depth = 0) {
  return new InlineParser(text, depth).parse();
}
