#include "report/layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "report/chart.h"

namespace latent8 {
namespace {

using Mark = ChartSeries::Mark;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

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

Chart chart_of(const QuantizeResult& r, const char* title, std::string text, const char* unit,
               const auto& tip) {
  Chart chart;
  chart.title = title;
  chart.text = std::move(text);
  chart.unit = unit;
  chart.labels = texts_of(r, label_of);
  chart.tips = tips_of(r, tip);
  return chart;
}

ChartSeries series_of(const QuantizeResult& r, const char* name, const char* style, Mark mark,
                      double LayerReport::* value) {
  return {name, style, mark, values_of(r, [&](const LayerReport& l) { return l.*value; })};
}

std::string latent_chart(const QuantizeResult& r) {
  Chart chart = chart_of(
      r, "Range of the latent",
      "The largest value that a layer's latent took over the calibration text, in the source and as it is "
      "stored. One scale covers a whole layer, so what matters is how far the largest value stands above the "
      "rms.",
      "value, logarithmic", [](const LayerReport& l) {
        return fmt::format("largest {} to {}, rms {} to {}", short_number(l.latent_amax),
                           short_number(l.stored_amax), short_number(l.latent_rms),
                           short_number(l.stored_rms));
      });
  chart.log = chart.connect = true;
  chart.series = {series_of(r, "largest, source", "before", Mark::kDot, &LayerReport::latent_amax),
                  series_of(r, "largest, stored", "after", Mark::kDot, &LayerReport::stored_amax),
                  series_of(r, "rms, stored", "neutral", Mark::kDash, &LayerReport::stored_rms)};
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

// Relative errors of each layer before and after what was decided.
std::string error_chart(const QuantizeResult& r, const char* title, const char* text,
                        double LayerReport::* before, double LayerReport::* after,
                        std::array<const char*, 3> names) {
  const auto [name_before, name_after, none] = names;  // `none`: of layers without an error
  Chart chart = chart_of(r, title, text, "relative error, logarithmic", [&](const LayerReport& l) {
    return l.*after > 0.0 ? fmt::format("{} to {}", percent_text(l.*before), percent_text(l.*after)) : none;
  });
  chart.log = chart.percent = chart.connect = true;
  chart.series = {series_of(r, name_before, "before", Mark::kDot, before),
                  series_of(r, name_after, "after", Mark::kDot, after)};
  return chart_html(chart);
}

std::string cache_chart(const QuantizeResult& r) {
  return error_chart(
      r, "Error of the int8 cache",
      "What the int8 cache changes, relative to the residual stream, rms: with the plain scale "
      "of the largest value, and as chosen.",
      &LayerReport::error_before, &LayerReport::error_after, {"plain scale", "as chosen", "float cache"});
}

std::string weight_chart(const QuantizeResult& r) {
  return error_chart(
      r, "Error of int8 weights",
      "What int8 weights change in a linear's outputs over the calibration text, relative, rms "
      "over the layer's linears except its routed experts, inputs in float: every weight "
      "rounded to nearest, and as written, rounded so that the errors cancel.",
      &LayerReport::output_error_before, &LayerReport::output_error_after,
      {"rounded to nearest", "as written", "not measured"});
}

std::string smoothing_chart(const QuantizeResult& r) {
  const auto smoothed = [](const LayerReport& l) { return !l.smoothed.empty(); };
  if (std::none_of(r.per_layer.begin(), r.per_layer.end(), smoothed)) return "";
  Chart chart;
  chart.title = "Smoothing of attention inputs";
  chart.text =
      "Powers of two per channel that moved from a norm (or kv_b_proj) into the linears behind it, and what "
      "they leave of the squared error of those linears. They change no result.";
  chart.unit = "error left";
  chart.percent = true;
  chart.labels = texts_of(r, label_of);
  chart.tips = tips_of(r, [](const LayerReport& l) {
    std::string text;
    for (const LayerReport::Smoothed& s : l.smoothed)
      text += fmt::format("{}{}: alpha {}, beta {}, {} left", text.empty() ? "" : "; ", s.source, s.alpha,
                          s.beta, percent_text(s.error));
    return text.empty() ? "none" : text;
  });
  const std::array<std::pair<const char*, const char*>, 3> sources{
      {{"input_layernorm", "before"}, {"q_a_layernorm", "after"}, {"kv_b_proj", "neutral"}}};
  for (const auto& [source, color] : sources) {
    const auto values = values_of(r, [&](const LayerReport& l) {
      const auto it = std::find_if(l.smoothed.begin(), l.smoothed.end(),
                                   [&](const auto& s) { return s.source == source; });
      return it == l.smoothed.end() ? 0.0 : it->error;
    });
    if (!std::all_of(values.begin(), values.end(), [](double v) { return std::isnan(v); }))
      chart.series.push_back({source, color, Mark::kDot, values});
  }
  return chart_html(chart);
}

std::string time_chart(const QuantizeResult& r) {
  Chart chart = chart_of(r, "Time per layer",
                         r.resumed_layers > 0
                             ? fmt::format("{} layers were finished by an earlier run.", r.resumed_layers)
                             : "From reading a layer's first tensor to writing its last.",
                         "seconds", [](const LayerReport& l) {
                           return fmt::format("{}, {} to {}", time_text(l.seconds), bytes_text(l.bytes_in),
                                              bytes_text(l.bytes_out));
                         });
  chart.series = {series_of(r, "seconds", "after", Mark::kBar, &LayerReport::seconds)};
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

}  // namespace

std::string bytes_text(std::int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024.0 && unit + 1 < std::size(kUnits); ++unit) value /= 1024.0;
  return unit == 0 ? fmt::format("{}\u00a0B", bytes)
                   : fmt::format("{:.{}f}\u00a0{}", value, value < 10.0 ? 2 : 1, kUnits[unit]);
}

std::string time_text(double seconds) {
  if (seconds < 100.0) return fmt::format("{:.1f}\u00a0s", seconds);
  const auto minutes = static_cast<std::int64_t>(seconds / 60.0);
  if (minutes < 60)
    return fmt::format("{}\u00a0min {:.0f}\u00a0s", minutes, seconds - 60.0 * static_cast<double>(minutes));
  return fmt::format("{}\u00a0h {}\u00a0min", minutes / 60, minutes % 60);
}

std::string layer_charts(const QuantizeResult& r) {
  return latent_chart(r) + fold_chart(r) + cache_chart(r) + weight_chart(r) + smoothing_chart(r) +
         type_chart(r) + time_chart(r);
}

}  // namespace latent8
