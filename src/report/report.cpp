#include "report/report.h"

#include <fmt/format.h>

#include <cmath>
#include <map>

#include "base/check.h"
#include "latent8/version.h"
#include "report/chart.h"
#include "report/layers.h"
#include "report/option_text.h"
#include "report/page_text.h"

namespace latent8 {
namespace {

// 1234567 as "1,234,567".
std::string count_text(std::int64_t count) {
  std::string text = std::to_string(count);
  for (std::size_t end = text.size(); end > 3 && end - 3 > (count < 0 ? 1U : 0U);) text.insert(end -= 3, ",");
  return text;
}

// The root mean square over the layers that have the value; 0 without any.
template <class Value>
double overall(const QuantizeResult& r, const Value& value) {
  double sum = 0.0, count = 0.0;
  for (const LayerReport& l : r.per_layer)
    if (value(l) > 0.0 && std::isfinite(value(l))) sum += value(l) * value(l), count += 1.0;
  return count > 0.0 ? std::sqrt(sum / count) : 0.0;
}

std::string tiles(const QuantizeResult& r, const ReportContext& context) {
  std::string html;
  const auto tile = [&](const char* name, const std::string& value, const std::string& detail) {
    html += fmt::format("<div><dt>{}</dt><dd class=\"value\">{}</dd><dd class=\"detail\">{}</dd></div>\n",
                        name, escape_html(value), escape_html(detail));
  };
  tile("Checkpoint", bytes_text(r.bytes_out),
       fmt::format("{} tensors, from {}{}", count_text(r.tensors), bytes_text(r.bytes_in),
                   r.bytes_in > 0 ? fmt::format(" ({:.0f}\u00a0%)", 100.0 * static_cast<double>(r.bytes_out) /
                                                                        static_cast<double>(r.bytes_in))
                                  : ""));
  if (context.cache_bytes_per_token > 0)
    tile("Cache per token", count_text(context.cache_bytes_per_token) + "\u00a0B",
         context.cache_bytes_per_token_fp16 > 0
             ? fmt::format("fp16: {}\u00a0B ({:+.1f}\u00a0%)", count_text(context.cache_bytes_per_token_fp16),
                           100.0 * (static_cast<double>(context.cache_bytes_per_token) /
                                        static_cast<double>(context.cache_bytes_per_token_fp16) -
                                    1.0))
             : "");
  tile("Layers with int8 cache", fmt::format("{} of {}", r.fa_layers, r.layers),
       r.mtp ? "and an MTP layer is written" : "no MTP layer is written");
  const double before = overall(r, [](const LayerReport& l) { return l.fa ? l.error_before : 0.0; }),
               after = overall(r, [](const LayerReport& l) { return l.fa ? l.error_after : 0.0; }),
               nearest = overall(r, [](const LayerReport& l) { return l.output_error_before; }),
               written = overall(r, [](const LayerReport& l) { return l.output_error_after; });
  if (after > 0.0)
    tile("Error of the cache", percent_text(after),
         before > 0.0 ? "plain scales: " + percent_text(before) : "");
  if (written > 0.0)
    tile("Error of int8 weights", percent_text(written),
         "in outputs, without routed experts; rounded to nearest: " + percent_text(nearest));
  tile("Time", time_text(r.seconds),
       r.seconds > 0.0
           ? fmt::format("{:.2f} GB/s of the source", static_cast<double>(r.bytes_in) / 1e9 / r.seconds)
           : "");
  if (r.peak_memory > 0)
    tile("Peak memory", bytes_text(r.peak_memory),
         context.options.max_memory > 0 ? "of " + bytes_text(context.options.max_memory) + " allowed"
                                        : "resident");
  if (r.tokens > 0)
    tile("Calibration", count_text(r.tokens), fmt::format("tokens in {} prompts", count_text(r.prompts)));
  return html;
}

std::string warnings(const QuantizeResult& r) {
  if (r.warnings.empty()) return "";
  std::string html =
      "<section aria-labelledby=\"warnings\"><h2 id=\"warnings\">Warnings</h2><div class=\"notice\"><ul>\n";
  for (const std::string& warning : r.warnings) html += "<li>" + escape_html(warning) + "</li>\n";
  return html + "</ul></div></section>";
}

struct Column {
  const char* name;
  std::string (*text)(const LayerReport&);
};

std::string number_or_dash(double value) { return value > 0.0 ? short_number(value) : "-"; }
std::string share_or_dash(double value) { return value > 0.0 ? percent_text(value) : "-"; }

constexpr Column kColumns[] = {
    {"cache", [](const LayerReport& l) { return std::string(l.fa ? "int8" : "float"); }},
    {"latent stored as", [](const LayerReport& l) { return !l.fa            ? "-"
                                                           : l.fold.empty() ? "none"
                                                                            : l.fold; }},
    {"largest, source", [](const LayerReport& l) { return number_or_dash(l.latent_amax); }},
    {"largest, stored", [](const LayerReport& l) { return number_or_dash(l.stored_amax); }},
    {"rms, source", [](const LayerReport& l) { return number_or_dash(l.latent_rms); }},
    {"rms, stored", [](const LayerReport& l) { return number_or_dash(l.stored_rms); }},
    {"k scale", [](const LayerReport& l) { return number_or_dash(l.k_scale); }},
    {"clipped", [](const LayerReport& l) { return l.fa ? percent_text(l.clipped) : "-"; }},
    {"cache error, plain", [](const LayerReport& l) { return share_or_dash(l.error_before); }},
    {"cache error, chosen", [](const LayerReport& l) { return share_or_dash(l.error_after); }},
    {"error of linears except routed experts, nearest",
     [](const LayerReport& l) { return share_or_dash(l.output_error_before); }},
    {"error of linears except routed experts, written",
     [](const LayerReport& l) { return share_or_dash(l.output_error_after); }},
    {"read", [](const LayerReport& l) { return bytes_text(l.bytes_in); }},
    {"written", [](const LayerReport& l) { return bytes_text(l.bytes_out); }},
    {"time", [](const LayerReport& l) { return l.seconds > 0.0 ? time_text(l.seconds) : "-"; }},
};

std::string table_head() {
  std::string html = "<tr><th scope=\"col\">layer</th>";
  for (const Column& column : kColumns) html += fmt::format("<th scope=\"col\">{}</th>", column.name);
  return html + "</tr>\n";
}

std::string table_rows(const QuantizeResult& r) {
  std::string html;
  for (const LayerReport& l : r.per_layer) {
    html += fmt::format("<tr><th scope=\"row\">{}</th>",
                        l.mtp ? fmt::format("{} MTP", l.layer) : std::to_string(l.layer));
    for (const Column& column : kColumns) html += "<td>" + escape_html(column.text(l)) + "</td>";
    html += "</tr>\n";
  }
  return html;
}

std::string options_list(const ReportContext& context) {
  std::string html;
  for (const auto& [name, value] : option_texts(context.options))
    html += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", escape_html(name), escape_html(value));
  return html;
}

// Puts values where the template has {{key}}.
std::string fill(std::string_view text, const std::map<std::string, std::string, std::less<>>& values) {
  std::string out;
  for (std::size_t open = text.find("{{"); open != std::string_view::npos; open = text.find("{{")) {
    const std::size_t close = text.find("}}", open);
    LATENT8_CHECK(close != std::string_view::npos);
    const auto value = values.find(text.substr(open + 2, close - open - 2));
    LATENT8_CHECK(value != values.end());
    out += text.substr(0, open);
    out += value->second;
    text.remove_prefix(close + 2);
  }
  return out + std::string(text);
}

}  // namespace

bool is_report(std::string_view text) {
  const std::string_view page = report_html_text();
  const std::string_view begin = page.substr(0, page.find("{{"));
  return text.starts_with(begin) && text.find("<p class=\"brand\">latent8 <span>") != text.npos;
}

std::string report_html(const QuantizeResult& r, const ReportContext& context) {
  const std::string out = context.options.out.filename().empty()
                              ? context.options.out.parent_path().filename().string()
                              : context.options.out.filename().string();
  std::string subtitle =
      fmt::format("{} from {}", context.options.out.string(), context.options.model.string());
  for (const std::string& more : {context.machine, context.finished})
    if (!more.empty()) subtitle += " \xc2\xb7 " + more;
  return fill(
      report_html_text(),
      {{"title", escape_html(out + ": quantisation report")},
       {"style", std::string(report_css_text())},
       {"version", std::string(kVersion)},
       {"heading", escape_html(out)},
       {"subtitle", escape_html(subtitle)},
       {"tiles", tiles(r, context)},
       {"warnings", warnings(r)},
       {"hide_layers", r.per_layer.empty() ? " hidden" : ""},
       {"charts", layer_charts(r)},
       {"table_head", table_head()},
       {"table_rows", table_rows(r)},
       {"command", context.command.empty() ? "" : "<code>" + escape_html(context.command) + "</code>\n"},
       {"hide_copied", r.copied.empty() ? " hidden" : ""},
       {"copied", escape_html(fmt::format("{}", fmt::join(r.copied, ", ")))},
       {"options", options_list(context)}});
}

}  // namespace latent8
