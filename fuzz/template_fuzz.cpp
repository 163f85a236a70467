// Templates that are written from the bytes by a grammar, so that nearly all of them parse: values that grow
// in loops, nest, share parts and meet every filter, test, method and operator. Allowed: a text or an Error,
// with bounded work and memory (libFuzzer's -timeout and -rss_limit_mb watch that).

#include <array>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "latent8/error.h"
#include "text/jinja/template.h"

namespace latent8 {
namespace {

constexpr std::array<std::string_view, 70> kFilters = {"upper",
                                                       "lower",
                                                       "title",
                                                       "capitalize",
                                                       "trim",
                                                       "trim('ab')",
                                                       "length",
                                                       "string",
                                                       "list",
                                                       "first",
                                                       "last",
                                                       "reverse",
                                                       "sort",
                                                       "sort(reverse=true, attribute='a,b')",
                                                       "unique",
                                                       "unique(attribute=0)",
                                                       "join",
                                                       "join(ns.a)",
                                                       "join(',', attribute='a.b')",
                                                       "int",
                                                       "int(1, 16)",
                                                       "float",
                                                       "abs",
                                                       "round",
                                                       "round(300)",
                                                       "round(-5, 'ceil')",
                                                       "tojson",
                                                       "tojson(indent=9)",
                                                       "tojson(indent=ns.b)",
                                                       "tojson(sort_keys=true, ensure_ascii=true)",
                                                       "tojson(separators=(ns.a, ns.b))",
                                                       "items",
                                                       "dictsort",
                                                       "dictsort(by='value')",
                                                       "sum",
                                                       "sum(attribute='a', start=ns.a)",
                                                       "min",
                                                       "max",
                                                       "default(ns.b, true)",
                                                       "replace('a', ns.a)",
                                                       "replace('', 'xx')",
                                                       "replace(ns.a, ns.b)",
                                                       "indent(100, true)",
                                                       "indent(ns.b, true, true)",
                                                       "map('upper')",
                                                       "map('map', 'map', 'list')",
                                                       "map(attribute='a', default=ns)",
                                                       "map('join', ns.a)",
                                                       "select",
                                                       "select('in', ns.a)",
                                                       "reject('eq', ns.b)",
                                                       "selectattr('a', 'lt', 2)",
                                                       "rejectattr('a.b.0')",
                                                       "batch(3, ns.a)",
                                                       "batch(100000000, 1)",
                                                       "slice(3, 'f')",
                                                       "slice(99999999)",
                                                       "groupby('a', default=ns.b)",
                                                       "groupby(0)",
                                                       "center(99999999)",
                                                       "truncate(9, true)",
                                                       "truncate(3, end='')",
                                                       "wordcount",
                                                       "urlencode",
                                                       "escape",
                                                       "striptags",
                                                       "attr('items')",
                                                       "format(ns.a, ns.b)",
                                                       "format(a=ns.a)",
                                                       "filesizeformat"};

constexpr std::array<std::string_view, 24> kTests = {
    "defined",  "none",     "string",         "mapping",  "sequence",  "iterable",
    "number",   "odd",      "divisibleby(3)", "eq(ns.a)", "ne(ns.b)",  "lt(ns.a)",
    "ge(ns.b)", "in(ns.a)", "sameas(ns.b)",   "upper",    "lower",     "callable",
    "filter",   "test",     "boolean",        "true",     "undefined", "nonsense(ns.a)"};

constexpr std::array<std::string_view, 52> kMethods = {"upper()",
                                                       "split()",
                                                       "split('a')",
                                                       "split(ns.a)",
                                                       "split(none, 3)",
                                                       "rsplit('b', 2)",
                                                       "rsplit()",
                                                       "splitlines(true)",
                                                       "strip(ns.a)",
                                                       "lstrip()",
                                                       "startswith((ns.a, 'x'))",
                                                       "endswith(ns.b)",
                                                       "replace('a', ns.a)",
                                                       "replace(ns.b, '')",
                                                       "find(ns.a)",
                                                       "rfind(ns.b)",
                                                       "rfind('ab', 3, -2)",
                                                       "index('a')",
                                                       "count(ns.a)",
                                                       "count('')",
                                                       "join(ns.a)",
                                                       "title()",
                                                       "swapcase()",
                                                       "isalpha()",
                                                       "istitle()",
                                                       "isprintable()",
                                                       "zfill(99999999)",
                                                       "center(999999999, 'x')",
                                                       "ljust(70)",
                                                       "partition(ns.a)",
                                                       "rpartition('a')",
                                                       "removeprefix(ns.a)",
                                                       "format(ns.a, ns.b)",
                                                       "format(a=ns.a, b=ns)",
                                                       "expandtabs(99999999)",
                                                       "casefold()",
                                                       "items()",
                                                       "keys()",
                                                       "values()",
                                                       "get(ns.a, ns.b)",
                                                       "copy()",
                                                       "pop(0)",
                                                       "append(ns)",
                                                       "update(ns.a)",
                                                       "fromkeys(ns.a, ns.b)",
                                                       "a.b",
                                                       "0",
                                                       "items",
                                                       "__class__",
                                                       "capitalize()",
                                                       "isspace()",
                                                       "index(ns.a)"};

constexpr std::array<std::string_view, 26> kAtoms = {"ns.a",
                                                     "ns.a",
                                                     "ns.b",
                                                     "ns.b",
                                                     "ns",
                                                     "x",
                                                     "m",
                                                     "messages",
                                                     "tools",
                                                     "s",
                                                     "loop",
                                                     "missing",
                                                     "k",
                                                     "'ab'",
                                                     "'%s %r %5.3f'",
                                                     "'{} {0} {a.b[0]:>9}'",
                                                     "'\xc3\xa4 \xc3\x9f\xe6\xb7\xb1'",
                                                     "''",
                                                     "[]",
                                                     "{}",
                                                     "()",
                                                     "range(300)",
                                                     "7",
                                                     "-3",
                                                     "1e308",
                                                     "none"};

constexpr std::array<std::string_view, 20> kBinary = {"+",  "+",  "*",      "*",   "~",  "~",  "%",
                                                      "-",  "/",  "//",     "**",  "==", "!=", "<",
                                                      ">=", "in", "not in", "and", "or", "%"};

// Writes a template; when the bytes are used up, the shortest end of what is open.
class Writer {
 public:
  Writer(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

  std::string write() {
    std::string out = "{% set ns = namespace(a=[1], b='ab') %}";
    while (left_ > 0 && out.size() < kMostBytes) out += statement(0);
    return out + "{{ ns.a }}";
  }

 private:
  static constexpr std::size_t kMostBytes = 4000;
  static constexpr int kMostDepth = 5;

  std::uint8_t next() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  template <std::size_t N>
  std::string pick(const std::array<std::string_view, N>& words) {
    return std::string(words[next() % N]);
  }
  std::string atom() { return pick(kAtoms); }

  std::string expression(int depth) {
    if (depth > kMostDepth || left_ == 0) return atom();
    const auto inner = [&] { return expression(depth + 1); };
    switch (next() % 14) {
      case 0:
      case 1:
      case 2:
        return "(" + inner() + ")|" + pick(kFilters);
      case 3:
      case 4:
        return "(" + inner() + ")." + pick(kMethods);
      case 5:
        return "(" + inner() + ") is " + pick(kTests);
      case 6:
      case 7:
        return "(" + inner() + " " + pick(kBinary) + " " + inner() + ")";
      case 8:
        return "[" + inner() + ", " + inner() + "]";
      case 9:
        return "(" + inner() + ", " + inner() + ")";
      case 10:
        return "{" + inner() + ": " + inner() + "}";
      case 11:
        return "(" + inner() + ")[" + inner() + ":" + (next() % 2 == 0 ? "" : "-1") + ":" +
               (next() % 2 == 0 ? "2" : "-1") + "]";
      case 12:
        return "k(" + inner() + ", *" + atom() + ")";
      default:
        return atom();
    }
  }

  std::string body(int depth) {
    std::string out = statement(depth + 1);
    while (left_ > 0 && next() % 3 == 0) out += statement(depth + 1);
    return out;
  }

  // A value that grows with every turn of a loop.
  std::string growth() {
    static constexpr std::array<std::string_view, 10> kSteps = {"[ns.a]",
                                                                "[ns.a, ns.a]",
                                                                "(ns.a,)",
                                                                "ns.a + ns.a",
                                                                "{'k': ns.a}",
                                                                "namespace(a=ns.a)",
                                                                "dict(a=ns.a, b=ns.b)",
                                                                "ns.b ~ ns.b",
                                                                "ns.a.index",
                                                                "loop"};
    return "{% for i in range(" + std::to_string(next() * 8) + ") %}{% set ns." +
           (next() % 2 == 0 ? "a" : "b") + " = " + pick(kSteps) + " %}{% endfor %}";
  }

  std::string statement(int depth) {
    if (depth > kMostDepth || left_ == 0) return "{{ " + atom() + " }}";
    switch (next() % 14) {
      case 0:
      case 1:
        return growth();
      case 2:
        return "{% set ns.a = " + expression(0) + " %}";
      case 3:
        return "{% set ns.b = " + expression(0) + " %}";
      case 4:
        return "{% for x in " + expression(1) + " %}" + body(depth) + "{% else %}" + body(depth) +
               "{% endfor %}";
      case 5:
        return "{% for x in " + expression(1) + " recursive %}{{ loop(x) }}" + body(depth) + "{% endfor %}";
      case 6:
        return "{% for x in " + atom() + " if " + expression(2) + " %}{% if " + expression(2) +
               " %}{% break %}{% endif %}" + body(depth) + "{% endfor %}";
      case 7:
        return "{% if " + expression(0) + " %}" + body(depth) + "{% else %}" + body(depth) + "{% endif %}";
      case 8:
        return "{% macro k(m, n=ns.a) %}{{ caller(m) if caller else varargs }}" + body(depth) +
               "{% endmacro %}";
      case 9:
        return "{% call(m) k(" + expression(1) + ") %}" + body(depth) + "{% endcall %}";
      case 10:
        return "{% filter " + pick(kFilters) + " %}" + body(depth) + "{% endfilter %}";
      case 11:
        return "{% set s %}" + body(depth) + "{% endset %}";
      case 12:
        return "{% with x = " + expression(1) + " %}" + body(depth) + "{% endwith %}";
      default:
        return "{{ " + expression(0) + " }}";
    }
  }

  const std::uint8_t* data_;
  std::size_t left_;
};

void render(const std::string& source) {
  static const auto variables = nlohmann::ordered_json::parse(
      R"({"messages": [{"role": "user", "content": "hi a b"}, {"role": "assistant", "content": null, "a": {"b": [1]}}],
          "tools": [{"a": 2, "b": {"c": "x"}}, {"a": 1}], "s": "a,b\tc \u00e4", "add_generation_prompt": true})");
  // A tenth of the limits in use: the sanitizers make everything slower.
  static_cast<void>(JinjaTemplate(source, "fuzz").render(variables, {.steps = 500'000, .bytes = 32u << 20}));
}

}  // namespace
}  // namespace latent8

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    latent8::render(latent8::Writer(data, size).write());
  } catch (const latent8::Error&) {
    return 0;
  }
  return 0;
}
