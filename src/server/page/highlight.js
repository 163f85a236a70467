// Colours for code: comments, texts, numbers and the words that most languages share. Returns nodes.
import { element } from "./dom.js";

const HASH_COMMENTS = new Set(["python", "py", "sh", "bash", "shell", "zsh", "ruby", "rb", "yaml", "yml", "toml", "r",
  "perl", "make", "makefile", "dockerfile", "cmake", "ini", "conf", "powershell"]);
const DASH_COMMENTS = new Set(["sql", "lua", "haskell", "hs", "ada"]);
const PLAIN = new Set(["", "text", "txt", "plain", "plaintext", "output", "console", "markdown", "md"]);
const MAX_LENGTH = 100_000; // characters; longer code stays plain

const WORDS = new Set(`
  abstract and as assert async await bool boolean break byte case catch char class const constexpr continue
  def default del delete do double elif else elsif end enum except export extends extern false final finally float fn for
  foreach from func function global goto if impl implements import in include instanceof int interface is lambda let
  local long loop match module mut namespace new nil None not null nullptr operator or override package pass private
  protected pub public raise return self short signed sizeof static std string struct super switch template then this
  throw throws trait true True False try type typedef typename typeof undefined union unsigned use using var virtual
  void volatile when where while with yield echo export fi done esac select insert update create table drop alter
  where join left right inner outer on group order by having limit into values set distinct union all
`.trim().split(/\s+/));

function commentPattern(language) {
  if (HASH_COMMENTS.has(language)) return "#[^\\n]*";
  if (DASH_COMMENTS.has(language)) return "--[^\\n]*";
  return "//[^\\n]*|/\\*[^]*?(?:\\*/|$)|<!--[^]*?(?:-->|$)";
}

function tokenPattern(language) {
  const text = "\"(?:\\\\.|[^\"\\\\\\n])*\"?|'(?:\\\\.|[^'\\\\\\n])*'?|`(?:\\\\[^]|[^`\\\\])*`?";
  return new RegExp(`(${commentPattern(language)})|(${text})|(\\b\\d[\\w.]*)|([A-Za-z_]\\w*)`, "g");
}

export function highlight(code, language) {
  const name = language.toLowerCase();
  if (PLAIN.has(name) || code.length > MAX_LENGTH) return [code];
  const caseless = name === "sql";
  const nodes = [];
  let end = 0;
  for (const found of code.matchAll(tokenPattern(name))) {
    const isWord = found[4] && WORDS.has(caseless ? found[4].toLowerCase() : found[4]);
    const kind = found[1] ? "comment" : found[2] ? "literal" : found[3] ? "number" : isWord ? "word" : null;
    if (kind === null) continue;
    nodes.push(code.slice(end, found.index), element("span", { class: `code-${kind}` }, found[0]));
    end = found.index + found[0].length;
  }
  nodes.push(code.slice(end));
  return nodes;
}
