#include "report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "text/utf8.h"

namespace latent8 {
namespace {

// Values of a vertical axis and where they stand, in percent from the bottom.
struct Axis {
  bool log = false;
  double low = 0.0, high = 1.0;
  std::vector<double> ticks;

  double at(double value) const {
    const double share =
        log ? std::log10(value / low) / std::log10(high / low) : (value - low) / (high - low);
    return 100.0 * share;
  }
};

bool can_show(double value, bool log) { return std::isfinite(value) && (!log || value > 0.0); }

// From one of 1, 2, 5 * 10^n to another. Ticks are powers of ten, or those numbers where there are few.
Axis log_axis(double low, double high) {
  const auto step = [](double value, bool up) {
    const double ten = std::pow(10.0, std::floor(std::log10(value)));
    if (up) {
      for (const double m : {1.0, 2.0, 5.0, 10.0})
        if (m * ten >= value * 0.9999) return m * ten;
    } else {
      for (const double m : {5.0, 2.0, 1.0})
        if (m * ten <= value * 1.0001) return m * ten;
    }
    return ten;
  };
  Axis axis{true, step(low / 1.15, false), step(high * 1.15, true), {}};
  const bool decades = std::log10(axis.high / axis.low) >= 2.5;
  for (double ten = std::pow(10.0, std::floor(std::log10(axis.low))); ten <= axis.high * 1.0001; ten *= 10.0)
    for (const double m : {1.0, 2.0, 5.0})
      if (m * ten >= axis.low * 0.9999 && m * ten <= axis.high * 1.0001 && (m == 1.0 || !decades))
        axis.ticks.push_back(m * ten);
  return axis;
}

Axis linear_axis(double high) {
  const double ten = std::pow(10.0, std::floor(std::log10(high)));
  double step = ten;
  for (const double m : {0.2, 0.5, 1.0, 2.0})
    if (high / (m * ten) <= 5.0) {
      step = m * ten;
      break;
    }
  Axis axis{false, 0.0, step * std::ceil(high / step * 1.0001), {}};
  for (int i = 0; step * i <= axis.high * 1.0001; ++i) axis.ticks.push_back(step * i);
  return axis;
}

Axis axis_of(const Chart& chart) {
  double low = HUGE_VAL, high = 0.0;
  for (const ChartSeries& s : chart.series)
    for (const double value : s.values)
      if (can_show(value, chart.log)) {
        low = std::min(low, value);
        high = std::max(high, value);
      }
  if (high <= 0.0) return {chart.log, 0.0, 0.0, {}};
  return chart.log ? log_axis(low, high) : linear_axis(high);
}

std::string tick_text(double value, bool percent) {
  return percent ? fmt::format("{}\u00a0%", short_number(100.0 * value)) : short_number(value);
}

double x_of(std::size_t layer, std::size_t count) {
  return 100.0 * (static_cast<double>(layer) + 0.5) / static_cast<double>(count);
}

// The plot with its grid lines; many layers get smaller marks.
std::string plot_start(std::size_t layers, const std::string& title, const std::string& grid) {
  return fmt::format(
      "<svg viewBox=\"0 0 100 100\" preserveAspectRatio=\"none\" role=\"img\"{} "
      "aria-label=\"{}, per layer; the values stand in the table of layers\"><path class=\"grid\" d=\"{}\"/>",
      layers > 24 ? " class=\"many\"" : "", escape_html(title), grid);
}

// Layer numbers below the plot, as many as a phone has room for, and the last one if it is a word ("MTP").
std::string x_labels(const std::vector<std::string>& labels) {
  const std::size_t n = labels.size(), step = n <= 12 ? 1 : n <= 24 ? 4 : 10;
  const bool word = labels.back().find_first_not_of("0123456789") != std::string::npos;
  std::string html = "<div class=\"x\" aria-hidden=\"true\">";
  for (std::size_t i = 0; i < n; ++i) {
    const bool last = word && i + 1 == n, crowded = word && step > 1 && i + step / 2 >= n;
    if (last || (i % step == 0 && !crowded))
      html += fmt::format("<span style=\"left:{:.2f}%\">{}</span>", x_of(i, n), escape_html(labels[i]));
  }
  return html + "</div><div class=\"x-title\" aria-hidden=\"true\">layer</div>";
}

// Zero-length lines with round ends: dots that stay round however the plot is stretched.
std::string mark_path(const ChartSeries& series, double x, double y, double width) {
  switch (series.mark) {
    case ChartSeries::Mark::kBar:
      return fmt::format("<path class=\"bar {}\" d=\"M{:.2f} 100V{:.2f}H{:.2f}V100Z\"/>", series.style,
                         x - 0.36 * width, 100.0 - y, x + 0.36 * width);
    case ChartSeries::Mark::kDash:
      return fmt::format("<path class=\"dash {}\" d=\"M{:.2f} {:.2f}H{:.2f}\"/>", series.style,
                         x - 0.3 * width, 100.0 - y, x + 0.3 * width);
    case ChartSeries::Mark::kDot:
      break;
  }
  return fmt::format("<path class=\"dot {}\" d=\"M{:.2f} {:.2f}h0\"/>", series.style, x, 100.0 - y);
}

std::string layer_marks(const Chart& chart, const Axis& axis, std::size_t layer) {
  const std::size_t n = chart.labels.size();
  const double x = x_of(layer, n), width = 100.0 / static_cast<double>(n);
  std::string html =
      fmt::format("<g><title>{}</title><rect class=\"hit\" x=\"{:.2f}\" width=\"{:.2f}\" height=\"100\"/>",
                  escape_html(chart.tips[layer]), x - width / 2, width);
  const auto shown = [&](const ChartSeries& s) { return can_show(s.values[layer], chart.log); };
  if (chart.connect && shown(chart.series[0]) && shown(chart.series[1]))
    html += fmt::format("<path class=\"link\" d=\"M{:.2f} {:.2f}V{:.2f}\"/>", x,
                        100.0 - axis.at(chart.series[0].values[layer]),
                        100.0 - axis.at(chart.series[1].values[layer]));
  for (const ChartSeries& s : chart.series)
    if (shown(s)) html += mark_path(s, x, axis.at(s.values[layer]), width);
  return html + "</g>";
}

std::string figure_head(const std::string& title, const std::string& text) {
  return fmt::format("<figure class=\"chart\"><figcaption><h3>{}</h3><p>{}</p></figcaption>",
                     escape_html(title), escape_html(text));
}

std::string legend(const Chart& chart) {
  if (chart.series.size() < 2) return "";
  std::string html = "<ul class=\"legend\">";
  for (const ChartSeries& s : chart.series)
    html +=
        fmt::format("<li><i class=\"{} {}\"></i>{}</li>",
                    s.mark == ChartSeries::Mark::kDash ? "k-dash" : "k-dot", s.style, escape_html(s.name));
  return html + "</ul>";
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string clean;
  append_lossy_utf8(clean, text);
  std::string html;
  for (const char c : clean) {
    if (c == '&')
      html += "&amp;";
    else if (c == '<')
      html += "&lt;";
    else if (c == '>')
      html += "&gt;";
    else if (c == '"')
      html += "&quot;";
    else
      html += c;
  }
  return html;
}

std::string short_number(double value) {
  if (!std::isfinite(value)) return "-";
  if (value == 0.0) return "0";
  const double size = std::fabs(value);
  if (size >= 100.0 && size < 1e6) return fmt::format("{:.0f}", value);
  return size < 1e-4 ? fmt::format("{:.2g}", value) : fmt::format("{:.3g}", value);
}

std::string percent_text(double share) {
  return std::isfinite(share) ? short_number(100.0 * share) + "\u00a0%" : "-";
}

std::string chart_html(const Chart& chart) {
  const Axis axis = axis_of(chart);
  if (axis.ticks.empty()) return "";
  std::string html = figure_head(chart.title, chart.text) + legend(chart);
  html += fmt::format(
      "<div class=\"plot\"><div class=\"y-title\" aria-hidden=\"true\">{}</div><div class=\"y\" "
      "aria-hidden=\"true\">",
      escape_html(chart.unit));
  std::string grid;
  for (const double tick : axis.ticks) {
    html += fmt::format("<span style=\"bottom:{:.2f}%\">{}</span>", axis.at(tick),
                        tick_text(tick, chart.percent));
    grid += fmt::format("M0 {:.2f}H100", 100.0 - axis.at(tick));
  }
  html += "</div>" + plot_start(chart.labels.size(), chart.title, grid);
  for (std::size_t layer = 0; layer < chart.labels.size(); ++layer) html += layer_marks(chart, axis, layer);
  return html + "</svg>" + x_labels(chart.labels) + "</div></figure>\n";
}

std::string category_html(const CategoryChart& chart) {
  const std::size_t n = chart.chosen.size(), rows = chart.categories.size();
  const auto y_of = [&](int row) { return 100.0 * (row + 0.5) / static_cast<double>(rows); };
  std::string html = figure_head(chart.title, chart.text) +
                     "<div class=\"plot rows\" style=\"--rows:" + std::to_string(rows) +
                     "\"><div class=\"y words\" aria-hidden=\"true\">";
  std::string grid;
  for (std::size_t row = 0; row < rows; ++row) {
    const double y = y_of(static_cast<int>(row));
    const auto count = std::count(chart.chosen.begin(), chart.chosen.end(), static_cast<int>(row));
    html += fmt::format("<span style=\"bottom:{:.2f}%\">{} <b>{}</b></span>", 100.0 - y,
                        escape_html(chart.categories[row]), count);
    grid += fmt::format("M0 {:.2f}H100", y);
  }
  html += "</div>" + plot_start(n, chart.title, grid);
  for (std::size_t layer = 0; layer < n; ++layer)
    html += fmt::format(
        "<g><title>{}</title><rect class=\"hit\" x=\"{:.2f}\" width=\"{:.2f}\" height=\"100\"/><path "
        "class=\"dot after\" "
        "d=\"M{:.2f} {:.2f}h0\"/></g>",
        escape_html(chart.tips[layer]), x_of(layer, n) - 50.0 / static_cast<double>(n),
        100.0 / static_cast<double>(n), x_of(layer, n), y_of(chart.chosen[layer]));
  return html + "</svg>" + x_labels(chart.labels) + "</div></figure>\n";
}

std::string parts_html(const std::string& title, const std::string& text, const std::vector<Part>& parts) {
  std::string bar, rows;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    bar += fmt::format("<span class=\"p{}\" style=\"flex-grow:{:.5f}\" title=\"{}: {}\"></span>", i % 5,
                       part.share, escape_html(part.name), escape_html(part.value));
    rows += fmt::format(
        "<tr><th scope=\"row\"><i class=\"p{}\"></i>{}</th><td>{}</td><td>{:.1f}\u00a0%</td></tr>", i % 5,
        escape_html(part.name), escape_html(part.value), 100.0 * part.share);
  }
  return figure_head(title, text) +
         fmt::format(
             "<div class=\"parts\" role=\"img\" aria-label=\"{}; the values stand in the table "
             "below\">{}</div>"
             "<table class=\"small\"><thead><tr><th scope=\"col\">type</th><th scope=\"col\">size</th><th "
             "scope=\"col\">share</th></tr></thead><tbody>{}</tbody></table></figure>\n",
             escape_html(title), bar, rows);
}

}  // namespace latent8
