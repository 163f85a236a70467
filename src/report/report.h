#pragma once
// What a run of the quantiser measured and decided, for people (one HTML page) and for programs (JSON).

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "latent8/quantize.h"

namespace latent8 {

// What the page says besides the result. Empty texts and zeros are left out.
struct ReportContext {
  const QuantizeOptions& options;
  std::string command;   // what was run
  std::string machine;   // "AMD EPYC, 2 threads, 8 GiB"
  std::string finished;  // date and time
  // Of all decoder layers, as written and if every layer were fp16.
  std::int64_t cache_bytes_per_token = 0, cache_bytes_per_token_fp16 = 0;
};

// A page of its own: styles and charts are inline, nothing is loaded from anywhere. Charts are inline SVG
// with titles; every value of a chart also stands in the table of layers. UTF-8.
std::string report_html(const QuantizeResult& result, const ReportContext& context);

// Whether a text is a page of report_html().
bool is_report(std::string_view text);

// The same facts; field names are those of QuantizeResult and LayerReport. Values that are no numbers are
// null.
nlohmann::ordered_json to_json(const QuantizeResult& result);

}  // namespace latent8
