#pragma once
// Charts of the report: HTML with an inline SVG that stretches to any width, and labels as text beside it, so
// that these keep their size on a phone.

#include <string>
#include <string_view>
#include <vector>

namespace latent8 {

// `text` with the characters that mean something in HTML escaped, and bytes that are no UTF-8 replaced.
std::string escape_html(std::string_view text);

// Three significant digits: "0.0123", "1.2e-06", "134".
std::string short_number(double value);
std::string percent_text(double share);  // "0.123 %"; "-" for what is no number

// One value per layer; NaN where there is none.
struct ChartSeries {
  enum class Mark { kDot, kDash, kBar };
  std::string name;
  std::string style;  // a class of report.css: "before", "after", "neutral"
  Mark mark = Mark::kDot;
  std::vector<double> values;
};

struct Chart {
  std::string title, text;          // what it shows, and how to read it
  std::string unit;                 // of the vertical axis
  bool log = false;                 // values must be above 0 then; others are left out
  bool percent = false;             // values are shares
  bool connect = false;             // a line joins the first two series
  std::vector<std::string> labels;  // of the layers
  std::vector<std::string> tips;    // what pointing at a layer says
  std::vector<ChartSeries> series;
};

// "" if no value can be shown.
std::string chart_html(const Chart& chart);

// One mark per layer in the row of its category.
struct CategoryChart {
  std::string title, text;
  std::vector<std::string> categories;  // from top to bottom
  std::vector<int> chosen;              // [layers]
  std::vector<std::string> labels, tips;
};
std::string category_html(const CategoryChart& chart);

// Parts of a whole as one bar, with a table.
struct Part {
  std::string name, value;  // "W8A8", "1.5 GiB"
  double share = 0.0;
};
std::string parts_html(const std::string& title, const std::string& text, const std::vector<Part>& parts);

}  // namespace latent8
