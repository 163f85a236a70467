// A template is somebody else's program: whatever it does, it ends in a text or an error, soon and in little
// memory.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "formats/nested_json.h"
#include "latent8/error.h"
#include "text/jinja/template.h"

namespace latent8 {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

std::string render_within_limits(const std::string& source, const Json& variables = Json::object()) {
  return JinjaTemplate(source, "template").render(variables);
}

// What rendering fails with; "" if it does not.
std::string failure(const std::string& source, const Json& variables = Json::object()) {
  try {
    render_within_limits(source, variables);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

auto IsRefused() {
  return AnyOf(HasSubstr("steps"), HasSubstr("bytes"), HasSubstr("levels deep"), HasSubstr("repetition"),
               HasSubstr("width"));
}

const std::string kLoop = "{% for i in range(100000) %}{% for j in range(10) %}";
const std::string kEnd = "{% endfor %}{% endfor %}";

TEST(JinjaLimits, RefusesValuesThatNestWithoutEnd) {
  for (const std::string made : {"[ns.a]", "(ns.a,)", "{'k': ns.a}", "dict(a=ns.a)", "[ns.a].index",
                                 "[ns.a] | list", "{'k': ns.a}.items()", "[ns.a] | batch(1) | list",
                                 "'' | slice(1, ns.a) | list", "[ns.a] | groupby(0) | list", "loop"}) {
    EXPECT_THAT(failure("{% set ns = namespace(a=[1]) %}" + kLoop +
                        "{% for x in [ns.a] %}{% set ns.a = " + made + " %}{% endfor %}" + kEnd),
                HasSubstr("levels deep"))
        << made;
  }
}

TEST(JinjaLimits, NamespacesMayFormChainsAndRings) {
  EXPECT_EQ(render_within_limits("{% set ns = namespace() %}{% set ns.a = [ns] %}x"), "x");
  EXPECT_THAT(failure("{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns }}"), HasSubstr("levels deep"));
  EXPECT_EQ(render_within_limits(
                "{% set ns = namespace(a=1) %}{% for i in range(90000) %}{% set ns.a = namespace(b=ns.a) "
                "%}{% endfor %}x"),
            "x");
}

TEST(JinjaLimits, CountsTheVisitsOfSharedParts) {
  const std::string doubled =
      "{% set ns = namespace(a=[1], b=[1], t=(1,), u=(1,)) %}{% for i in range(60) %}{% set ns.a = [ns.a, "
      "ns.a] %}"
      "{% set ns.b = [ns.b, ns.b] %}{% set ns.t = (ns.t, ns.t) %}{% set ns.u = (ns.u, ns.u) %}{% endfor %}";
  for (const std::string use : {"ns.a",
                                "ns.a | tojson",
                                "ns.a == ns.b",
                                "ns.a in [ns.b]",
                                "ns.a < ns.b",
                                "ns.a ~ ''",
                                "'%s' % [ns.a]",
                                "'{}'.format(ns.a)",
                                "{ns.t: 1}",
                                "[ns.t] | unique | list",
                                "[ns.a, ns.b] | sort",
                                "[ns.a, ns.b] | min",
                                "[ns.b].index(ns.a)",
                                "[ns.b].count(ns.a)",
                                "ns.a is eq(ns.b)",
                                "ns.a | string",
                                "[ns.a] | join",
                                "ns.a | indent",
                                "{'k': ns.a}.get(ns.t)",
                                "[{'k': ns.a}, {'k': ns.b}] | groupby('k')",
                                "ns.a | tojson(indent=9)"}) {
    EXPECT_THAT(failure(doubled + "{{ " + use + " }}"),
                AnyOf(IsRefused(), HasSubstr("indent: a str expected")))
        << use;
  }
}

TEST(JinjaLimits, AsksBeforeItMakesALargeText) {
  const std::string big = "{% set b = 'a' * 60000000 %}";
  for (const std::string use : {"('%s' * 1000000) % ((b,) * 1000000)",
                                "('{0}' * 1000000).format(b)",
                                "([b] * 1000) | sort | length",
                                "([b] * 100000) | min | length",
                                "([b] * 100) | join | length",
                                "b.replace('a', 'xxxxxxxxxx')",
                                "b.replace('', b)",
                                "b.join([b, b, b, b, b])",
                                "(b ~ b ~ b ~ b ~ b) | length",
                                "b.center(10 ** 9) | length",
                                "b | center(10 ** 9)",
                                "'%999999999s' % b",
                                "'{:>999999999}'.format(b)",
                                "b | list | length",
                                "b.split('a') | length",
                                "b.zfill(10 ** 9)",
                                "b.ljust(10 ** 9)",
                                "('\t' * 1000000).expandtabs(10 ** 6)",
                                "('\n' * 1000000) | indent(10 ** 6, blank=true)",
                                "[b] * 10 ** 18",
                                "b * 10 ** 18",
                                "[1, 2] | tojson(indent=10 ** 9)",
                                "[1] | batch(10 ** 9, 0) | list",
                                "b[::-1]",
                                "b | upper",
                                "b | urlencode | urlencode",
                                "[b, b, b, b, b] | map('upper') | list",
                                "[1] | slice(10 ** 9) | list",
                                "b | escape | title | lower | swapcase",
                                "dict(a=b).items() | list | tojson",
                                "'%*d' % (10 ** 9, 1)",
                                "'%.999999999f' % 1"}) {
    EXPECT_NE(failure(big + "{{ " + use + " }}"), "") << use;
  }
}

TEST(JinjaLimits, CountsSearchesThatRepeatThemselves) {
  const std::string texts = "{% set a = 'a' * 2000000 %}{% set b = 'a' * 1000000 ~ 'b' %}";
  for (const std::string use :
       {"a.find(b)", "b in a", "a.count(b)", "a.split(b) | length", "a.replace(b, '') | length",
        "a.rsplit(b) | length", "a.rfind(b)", "a.strip(b) | length", "a.startswith((b,) * 100000)"}) {
    const std::string message = failure(texts + "{{ " + use + " }}");
    EXPECT_THAT(message, AnyOf("", IsRefused())) << use;
  }
}

// Templates that are harmless take time that grows with the user's text, not with its square.
TEST(JinjaLimits, HarmlessTemplatesTakeLongTexts) {
  Json variables;
  std::string content;
  for (int i = 0; i < 100'000; ++i) content += i % 3 == 0 ? "\xC3\xA4 " : "ab ";
  variables["messages"] = Json::array({{{"role", "user"}, {"content", content}}});
  for (const std::string use : {"split() | length", "split(' ') | length", "rsplit() | length",
                                "splitlines() | length", "strip() | length", "replace('ab', 'c') | length",
                                "upper() | length", "partition('zzz') | length", "title() | length"}) {
    EXPECT_NE(
        render_within_limits("{% for m in messages %}{{ m.content." + use + " }}{% endfor %}", variables), "")
        << use;
  }
  EXPECT_EQ(render_within_limits(
                "{% set c = messages[0].content %}{% for i in range(90000) %}{% if c[i] == 'z' %}!{% "
                "endif %}{% endfor %}x",
                variables),
            "x");
  EXPECT_EQ(render_within_limits(
                "{% set ns = namespace(n=0) %}{% for w in messages[0].content.split() %}{% set ns.n = "
                "ns.n + 1 %}{% endfor %}{{ ns.n }}",
                variables),
            "100000");
}

TEST(JinjaLimits, FindsKeysOfLargeDictionariesQuickly) {
  Json variables;
  variables["d"] = Json::object();
  for (int i = 0; i < 50'000; ++i) append_member(variables["d"], "key" + std::to_string(i), i);

  EXPECT_EQ(
      render_within_limits(
          "{% set ns = namespace(n=0) %}{% for k in d %}{% set ns.n = ns.n + d[k] %}{% endfor %}{{ ns.n }}",
          variables),
      "1249975000");
}

TEST(JinjaLimits, BoundsTheDepthOfNestedFilters) {
  std::string names;
  for (int i = 0; i < 1500; ++i) names += "'map', ";

  // The generators are made and never asked.
  EXPECT_EQ(render_within_limits("{{ 'a' | map(" + names + "'upper') | list | length }}"), "1");
}

TEST(JinjaLimits, NamesTheLine) {
  EXPECT_THAT(failure("a\n{% set x = 'y' %}\n{{ x * 10 ** 12 }}"), HasSubstr("template line 3: "));
  EXPECT_THAT(failure("a\n\n{{ raise_exception('no') }}"),
              HasSubstr("template line 3: raised by the template: no"));
}

TEST(JinjaLimits, EscapeSequencesOfATemplateDoNotReachMessages) {
  for (const std::string source :
       {"{{ raise_exception('\x1B]0;x\x07') }}", "{{ missing['\x1B[31m'].x }}", "{{ 'x\x1B[31m' % 1 }}",
        "{{ '{\x1B[31m}'.format() }}", "{% if x is a\x1B %}{% endif %}"}) {
    EXPECT_EQ(failure(source).find('\x1B'), std::string::npos) << failure(source);
    EXPECT_NE(failure(source), "");
  }
}

}  // namespace
}  // namespace latent8
