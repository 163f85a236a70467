#pragma once
// What the quantising subcommands show: progress, and a summary.

#include <chrono>
#include <string>

#include "apps/output.h"
#include "latent8/quantize.h"

namespace latent8 {

// Runs quantize() with a bar on a terminal, elsewhere with a line per layer. Throws: as quantize();
// Interrupted.
QuantizeResult quantize_with_progress(QuantizeOptions options);

// At most ten lines: what was made, how large it is, what was chosen, and what was used for it.
std::string quantize_summary(const QuantizeOptions& options, const QuantizeResult& result);

// Writes the page of report_html(). Throws: Error{kIo} naming the file.
// Refuses a --report that would damage something, before any work. Throws: as check_output_file().
void check_report_file(const std::string& path, const QuantizeOptions& options);
void write_report(const std::string& path, const QuantizeOptions& options, const QuantizeResult& result);

}  // namespace latent8
