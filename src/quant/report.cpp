#include "quant/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/check.h"
#include "latent8/version.h"
#include "quant/report_chart.h"
#include "quant/report_options.h"
#include "quant/report_text.h"

namespace latent8 {
namespace {

using Mark = ChartSeries::Mark;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

std::string bytes_text(std::int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024.0 && unit + 1 < std::size(kUnits); ++unit) value /= 1024.0;
  return unit == 0 ? fmt::format("{}\u00a0B", bytes)
                   : fmt::format("{:.{}f}\u00a0{}", value, value < 10.0 ? 2 : 1, kUnits[unit]);
}

// 1234567 as "1,234,567".
std::string count_text(std::int64_t count) {
  std::string text = std::to_string(count);
  for (std::size_t end = text.size(); end > 3 && end - 3 > (count < 0 ? 1U : 0U);) text.insert(end -= 3, ",");
  return text;
}

std::string time_text(double seconds) {
  if (seconds < 100.0) return fmt::format("{:.1f}\u00a0s", seconds);
  const auto minutes = static_cast<std::int64_t>(seconds / 60.0);
  if (minutes < 60)
    return fmt::format("{}\u00a0min {:.0f}\u00a0s", minutes, seconds - 60.0 * static_cast<double>(minutes));
  return fmt::format("{}\u00a0h {}\u00a0min", minutes / 60, minutes % 60);
}

std::string label_of(const LayerReport& l) { return l.mtp ? "MTP" : std::to_string(l.layer); }

// One value per layer. Zero means "not measured" in a LayerReport.
template <class Value>
std::vector<double> values_of(const QuantizeResult& r, const Value& value) {
  std::vector<double> out;
  for (const LayerReport& l : r.per_layer) {
    const double x = value(l);
    out.push_back(x > 0.0 ? x : kNone);
  }
  return out;
}

template <class Text>
std::vector<std::string> texts_of(const QuantizeResult& r, const Text& text) {
  std::vector<std::string> out;
  for (const LayerReport& l : r.per_layer) out.push_back(text(l));
  return out;
}

std::vector<std::string> tips_of(const QuantizeResult& r, const auto& text) {
  return texts_of(r, [&](const LayerReport& l) {
    return fmt::format(
        "{}: {}", l.mtp ? fmt::format("layer {} (MTP)", l.layer) : fmt::format("layer {}", l.layer), text(l));
  });
}

std::string latent_chart(const QuantizeResult& r) {
  Chart chart;
  chart.title = "Range of the latent";
  chart.text =
      "The largest value that a layer's latent took over the calibration text, in the source and as it is "
      "stored. One "
      "scale covers a whole layer, so what matters is how far the largest value stands above the rms.";
  chart.unit = "value, logarithmic";
  chart.log = true;
  chart.connect = true;
  chart.labels = texts_of(r, label_of);
  chart.tips = tips_of(r, [](const LayerReport& l) {
    return fmt::format("largest {} to {}, rms {} to {}", short_number(l.latent_amax),
                       short_number(l.stored_amax), short_number(l.latent_rms), short_number(l.stored_rms));
  });
  chart.series = {{"largest, source", "before", Mark::kDot,
                   values_of(r, [](const LayerReport& l) { return l.latent_amax; })},
                  {"largest, stored", "after", Mark::kDot,
                   values_of(r, [](const LayerReport& l) { return l.stored_amax; })},
                  {"rms, stored", "neutral", Mark::kDash,
                   values_of(r, [](const LayerReport& l) { return l.stored_rms; })}};
  return chart_html(chart);
}

std::string fold_chart(const QuantizeResult& r) {
  CategoryChart chart;
  chart.title = "How the latent is stored";
  chart.text =
      "What was folded into the weights so that one scale covers the latent well. Folds change no result and "
      "cost "
      "nothing when the model runs.";
  chart.categories = {"both", "rotation", "fold", "none", "float cache"};
  if (r.per_layer.empty() || r.fa_layers == 0) return "";
  for (const LayerReport& l : r.per_layer) {
    const auto row =
        std::find(chart.categories.begin(), chart.categories.end() - 1, l.fa ? l.fold : "float cache");
    const bool unnamed = l.fa && row == chart.categories.end() - 1;
    chart.chosen.push_back(unnamed ? 3 : static_cast<int>(row - chart.categories.begin()));
  }
  chart.labels = texts_of(r, label_of);
  chart.tips = tips_of(r, [](const LayerReport& l) {
    std::string text = l.fa ? l.fold.empty() ? "none" : l.fold : "float cache";
    for (const LayerReport::Candidate& c : l.candidates)
      text += fmt::format("; {} {}", c.name, percent_text(c.error));
    return text;
  });
  return category_html(chart);
}

std::string cache_chart(const QuantizeResult& r) {
  Chart chart;
  chart.title = "Error of the int8 cache";
  chart.text =
      "rms error of the attention's output, relative to float: with the plain scale of the largest value, "
      "and as chosen.";
  chart.unit = "relative error, logarithmic";
  chart.log = chart.percent = chart.connect = true;
  chart.labels = texts_of(r, label_of);
  chart.tips = tips_of(r, [](const LayerReport& l) {
    return l.fa ? fmt::format("{} to {}", percent_text(l.error_before), percent_text(l.error_after))
                : "float cache";
  });
  chart.series = {
      {"plain scale", "before", Mark::kDot,
       values_of(r, [](const LayerReport& l) { return l.error_before; })},
      {"as chosen", "after", Mark::kDot, values_of(r, [](const LayerReport& l) { return l.error_after; })}};
  return chart_html(chart);
}

std::string weight_chart(const QuantizeResult& r) {
  Chart chart;
  chart.title = "Error of W8A8";
  chart.text =
      "rms error of the weights, and of the layer's output with quantised weights and activations, relative "
      "to float.";
  chart.unit = "relative error";
  chart.percent = true;
  chart.labels = texts_of(r, label_of);
  chart.tips = tips_of(r, [](const LayerReport& l) {
    return fmt::format("weights {}, output {}", percent_text(l.weight_error), percent_text(l.output_error));
  });
  chart.series = {
      {"weights", "weight", Mark::kDot, values_of(r, [](const LayerReport& l) { return l.weight_error; })},
      {"output", "output", Mark::kDot, values_of(r, [](const LayerReport& l) { return l.output_error; })}};
  return chart_html(chart);
}

std::string time_chart(const QuantizeResult& r) {
  Chart chart;
  chart.title = "Time per layer";
  chart.text = r.resumed_layers > 0
                   ? fmt::format("{} layers were finished by an earlier run.", r.resumed_layers)
                   : "From reading a layer's first tensor to writing its last.";
  chart.unit = "seconds";
  chart.labels = texts_of(r, label_of);
  chart.tips = tips_of(r, [](const LayerReport& l) {
    return fmt::format("{}, {} to {}", time_text(l.seconds), bytes_text(l.bytes_in), bytes_text(l.bytes_out));
  });
  chart.series = {
      {"seconds", "after", Mark::kBar, values_of(r, [](const LayerReport& l) { return l.seconds; })}};
  return chart_html(chart);
}

std::string type_chart(const QuantizeResult& r) {
  std::vector<std::pair<std::string, std::int64_t>> sizes;
  std::int64_t rest = r.bytes_out;
  for (const LayerReport& l : r.per_layer)
    for (const auto& [type, bytes] : l.tensors) {
      const auto it =
          std::find_if(sizes.begin(), sizes.end(), [&](const auto& e) { return e.first == type; });
      if (it == sizes.end())
        sizes.emplace_back(type, bytes);
      else
        it->second += bytes;
      rest -= bytes;
    }
  if (sizes.empty() || r.bytes_out <= 0) return "";
  std::sort(sizes.begin(), sizes.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  if (rest > 0) sizes.emplace_back("outside the layers", rest);
  std::vector<Part> parts;
  for (const auto& [type, bytes] : sizes)
    parts.push_back({type, bytes_text(bytes), static_cast<double>(bytes) / static_cast<double>(r.bytes_out)});
  return parts_html("Bytes by type",
                    "As the description calls them: W8A8 with a static input range, W8A8_DYNAMIC with a "
                    "scale per token. FLOAT keeps the source's type.",
                    parts);
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
               weight = overall(r, [](const LayerReport& l) { return l.weight_error; }),
               output = overall(r, [](const LayerReport& l) { return l.output_error; });
  if (after > 0.0)
    tile("Error of the cache", percent_text(after),
         before > 0.0 ? "plain scales: " + percent_text(before) : "");
  if (weight > 0.0)
    tile("Error of weights", percent_text(weight),
         output > 0.0 ? "outputs of layers: " + percent_text(output) : "");
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
    {"weight error", [](const LayerReport& l) { return share_or_dash(l.weight_error); }},
    {"output error", [](const LayerReport& l) { return share_or_dash(l.output_error); }},
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
       {"charts",
        latent_chart(r) + fold_chart(r) + cache_chart(r) + weight_chart(r) + type_chart(r) + time_chart(r)},
       {"table_head", table_head()},
       {"table_rows", table_rows(r)},
       {"command", context.command.empty() ? "" : "<code>" + escape_html(context.command) + "</code>\n"},
       {"options", options_list(context)}});
}

}  // namespace latent8
