#pragma once
// What decides a result's bytes.

#include <string>
#include <utility>
#include <vector>

#include "latent8/quantize.h"
#include "source/source_reader.h"

namespace latent8 {

// What was decided before the first tensor.
struct RunDecisions {
  std::int64_t layers = 0;                // decoder layers to write
  std::vector<std::int64_t> float_cache;  // those of them that keep a float cache
  bool calibrated = false;                // the prompts are run
};

// Name and value of everything that another run must have in common to go on with an unfinished result, for
// Manifest::inputs: texts, not only where they lie, and the kernel table, since float sums differ between
// them. Threads and memory are not among them. Throws: as read_prompts().
std::vector<std::pair<std::string, std::string>> run_inputs(const QuantizeOptions& options,
                                                            const SourceReader& source,
                                                            const RunDecisions& decisions);

}  // namespace latent8
