#include "report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <regex>

#include "report/chart.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

QuantizeResult sample(std::int64_t layers) {
  QuantizeResult r;
  r.layers = layers;
  r.fa_layers = layers - 1;
  r.mtp = true;
  r.prompts = 4;
  r.tokens = 12345;
  r.bytes_in = 4000;
  r.bytes_out = 400 * (layers + 1) + 1000;
  r.tensors = 99;
  r.seconds = 12.5;
  for (std::int64_t l = 0; l <= layers; ++l) {
    LayerReport layer;
    layer.layer = l;
    layer.mtp = l == layers;
    layer.fa = l != 1;
    layer.fold = layer.fa ? "rotation" : "";
    layer.latent_amax = 8.0;
    layer.latent_rms = 1.0;
    layer.stored_amax = 4.0;
    layer.stored_rms = 0.9;
    layer.k_scale = 4.0 / 127.0;
    layer.error_before = layer.fa ? 0.01 : 0.0;
    layer.error_after = layer.fa ? 0.004 : 0.0;
    layer.output_error_before = 0.012;
    layer.output_error_after = 0.008;
    layer.tensors = {{"W8A8", 100}, {"FLOAT", 300}};
    layer.bytes_out = 400;
    layer.seconds = 2.0;
    r.per_layer.push_back(layer);
  }
  return r;
}

QuantizeOptions options() {
  QuantizeOptions o;
  o.model = "/models/in";
  o.out = "/models/out/";
  return o;
}

std::string page(const QuantizeResult& r, const QuantizeOptions& o = options()) {
  return report_html(r, {o, "latent8 quantize", "a machine", "today", 640, 1152});
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

// The first closing tag that does not close what is open, "" if all tags match.
std::string first_mismatch(const std::string& html) {
  const std::regex tag("<(/?)([a-z0-9]+)([^<>]*?)(/?)>");
  std::vector<std::string> open;
  for (std::sregex_iterator it(html.begin(), html.end(), tag), end; it != end; ++it) {
    const std::string name = (*it)[2];
    if (name == "meta" || (*it)[4].length() > 0) continue;
    if ((*it)[1].length() == 0) {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return it->str();
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : "<" + open.back() + ">";
}

TEST(Report, LoadsNothingFromAnywhere) {
  const std::string html = page(sample(5));
  for (const char* reference :
       {"http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link", "{{"})
    EXPECT_THAT(html, Not(HasSubstr(reference)));
}

TEST(Report, IsWellFormed) {
  EXPECT_EQ(first_mismatch(page(sample(5))), "");
  EXPECT_EQ(first_mismatch(page(sample(61))), "");
  EXPECT_EQ(first_mismatch(page({})), "");
}

TEST(Report, HasARowForEveryLayer) {
  const std::string html = page(sample(61));
  EXPECT_THAT(html, HasSubstr("<th scope=\"row\">0</th>"));
  EXPECT_THAT(html, HasSubstr("<th scope=\"row\">61 MTP</th>"));
  EXPECT_EQ(count(html, "<tr><th scope=\"row\">"), 62U + 3U);  // 3 types of bytes
}

TEST(Report, NamesEveryChartForThoseWhoCannotSeeIt) {
  const std::string html = page(sample(5));
  EXPECT_EQ(count(html, "<svg "), 5U);
  EXPECT_EQ(count(html, "role=\"img\""), 6U);  // and the bar of types
  EXPECT_EQ(count(html, "aria-label=\""), 6U);
}

TEST(Report, SaysTheSummary) {
  const std::string html = page(sample(5));
  EXPECT_THAT(html, HasSubstr("4 of 5"));
  EXPECT_THAT(html, HasSubstr("12,345"));
  EXPECT_THAT(html, HasSubstr("-44.4"));
  EXPECT_THAT(html, HasSubstr("<h1>out</h1>"));
}

TEST(Report, LeavesOutChartsWithoutValues) {
  QuantizeResult r = sample(5);
  for (LayerReport& layer : r.per_layer) layer.output_error_before = layer.output_error_after = 0.0;
  const std::string html = page(r);
  EXPECT_THAT(html, Not(HasSubstr("Error of int8 weights")));
  EXPECT_THAT(html, HasSubstr("Error of the int8 cache"));
}

TEST(Report, ShowsWhatSmoothingLeavesOfTheError) {
  QuantizeResult r = sample(5);
  EXPECT_THAT(page(r), Not(HasSubstr("Smoothing of attention inputs")));
  r.per_layer[3].smoothed = {{"input_layernorm", 0.5, 0.25, 0.875}};
  const std::string html = page(r);
  EXPECT_EQ(first_mismatch(html), "");
  EXPECT_THAT(html, HasSubstr("input_layernorm: alpha 0.5, beta 0.25, 87.5"));
  EXPECT_THAT(html, HasSubstr("layer 2: none"));
  EXPECT_EQ(to_json(r).at("per_layer").at(3).at("smoothed").at("input_layernorm").at("error").get<double>(),
            0.875);
}

// Marks take their colours from their classes: one without a rule is not seen.
TEST(Report, HasAStyleForEveryClass) {
  QuantizeResult r = sample(3);
  r.warnings = {"a warning"};
  for (const char* source : {"input_layernorm", "q_a_layernorm", "kv_b_proj"})
    r.per_layer[2].smoothed.push_back({source, 0.5, 0.3, 0.8});
  const std::string html = page(r);
  const std::string style = html.substr(0, html.find("</style>"));
  const std::regex attribute("class=\"([^\"]*)\""), word("[^ ]+");
  for (std::sregex_iterator it(html.begin(), html.end(), attribute), end; it != end; ++it) {
    const std::string classes = (*it)[1];
    for (std::sregex_iterator name(classes.begin(), classes.end(), word); name != end; ++name)
      EXPECT_TRUE(std::regex_search(style, std::regex("\\." + name->str() + "\\b"))) << classes;
  }
}

TEST(Report, HidesTheLayersWhereThereAreNone) {
  EXPECT_THAT(page({}), HasSubstr("aria-labelledby=\"charts\" hidden"));
}

TEST(Report, ShowsWarnings) {
  QuantizeResult r = sample(5);
  EXPECT_THAT(page(r), Not(HasSubstr("Warnings")));
  r.warnings = {"expert 3 <saw> no token"};
  EXPECT_THAT(page(r), HasSubstr("<li>expert 3 &lt;saw&gt; no token</li>"));
}

TEST(Report, EscapesTextsOfTheUser) {
  QuantizeOptions o = options();
  o.out = "a<b>&\"\xff";
  const std::string html = page(sample(5), o);
  EXPECT_THAT(html, HasSubstr("a&lt;b&gt;&amp;&quot;"));
  EXPECT_EQ(first_mismatch(html), "");
  EXPECT_FALSE(first_invalid_utf8(html).has_value());
}

TEST(Report, ListsTheOptions) {
  QuantizeOptions o = options();
  o.dynamic = true;
  o.anti = QuantizeOptions::Anti::kM6;
  const std::string html = page(sample(5), o);
  EXPECT_THAT(html, HasSubstr("<dd>per token (dynamic)</dd>"));
  EXPECT_THAT(html, HasSubstr("<dd>m6</dd>"));
}

Chart chart(std::vector<double> values, bool log) {
  Chart c;
  c.log = log;
  for (std::size_t i = 0; i < values.size(); ++i) c.labels.push_back(std::to_string(i));
  c.tips = c.labels;
  c.series = {{"one", "after", ChartSeries::Mark::kDot, std::move(values)}};
  return c;
}

// Vertical positions of the dots, in percent from the top.
std::vector<double> dots(const std::string& html) {
  const std::regex dot("class=\"dot after\" d=\"M[0-9.]+ ([0-9.]+)h0\"");
  std::vector<double> out;
  for (std::sregex_iterator it(html.begin(), html.end(), dot), end; it != end; ++it)
    out.push_back(std::stod((*it)[1]));
  return out;
}

TEST(ReportChart, SpacesFactorsEvenlyOnALogarithmicAxis) {
  const std::vector<double> y = dots(chart_html(chart({1.0, 10.0, 100.0}, true)));
  ASSERT_EQ(y.size(), 3U);
  EXPECT_NEAR(y[0] - y[1], y[1] - y[2], 0.02);
  EXPECT_GT(y[0], y[1]);
}

TEST(ReportChart, StartsALinearAxisAtZero) {
  const std::vector<double> y = dots(chart_html(chart({2.0, 4.0}, false)));
  ASSERT_EQ(y.size(), 2U);
  EXPECT_NEAR(100.0 - y[1], 2.0 * (100.0 - y[0]), 0.02);
}

TEST(ReportChart, KeepsMarksInsideThePlot) {
  for (const bool log : {true, false})
    for (const double value : {1e-9, 0.3, 1.0, 9.99, 10.0, 12345.0})
      for (const double y : dots(chart_html(chart({value, value * 7.3}, log)))) {
        EXPECT_GE(y, 0.0) << value;
        EXPECT_LE(y, 100.0) << value;
      }
}

TEST(ReportChart, LeavesOutWhatIsNoValue) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(dots(chart_html(chart({nan, 1.0, inf, 0.0}, true))).size(), 1U);
  EXPECT_EQ(chart_html(chart({nan, nan}, true)), "");
  EXPECT_EQ(chart_html(chart({}, false)), "");
}

TEST(ReportChart, WritesNumbersShortly) {
  const std::vector<std::string> texts = {short_number(0.0), short_number(0.012345), short_number(1.5e-7),
                                          short_number(123456.0), short_number(std::nan(""))};
  EXPECT_THAT(texts, ElementsAre("0", "0.0123", "1.5e-07", "123456", "-"));
}

TEST(ReportJson, HasTheFactsOfEveryLayer) {
  const auto json = to_json(sample(5));
  EXPECT_EQ(json.at("fa_layers").get<int>(), 4);
  EXPECT_EQ(json.at("per_layer").size(), 6U);
  EXPECT_TRUE(json.at("per_layer").at(5).at("mtp").get<bool>());
  EXPECT_EQ(json.at("per_layer").at(0).at("tensors").at("W8A8").get<int>(), 100);
  EXPECT_EQ(json.at("per_layer").at(0).at("error_after").get<double>(), 0.004);
}

TEST(ReportJson, MakesNullOfWhatIsNoNumber) {
  QuantizeResult r = sample(1);
  r.per_layer[0].output_error_after = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(to_json(r).dump(), HasSubstr("\"output_error_after\":null"));
}

}  // namespace
}  // namespace latent8
