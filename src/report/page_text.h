#pragma once
// report.html and report.css, compiled in.

#include <string_view>

namespace latent8 {

std::string_view report_html_text();
std::string_view report_css_text();

}  // namespace latent8
