#pragma once
// Whether a run goes on with what an earlier one left.

#include "quant/output/manifest.h"
#include "quant/output/output_folder.h"

namespace latent8 {

// The earlier run's manifest, if it finished a unit and had the inputs of `now`; else `now`, and the folder
// is empty. Throws: Error{kInvalidArgument} naming the inputs that differ, and keeping the folder; as
// read_manifest().
Manifest resume_or_begin(OutputFolder& folder, Manifest now, bool resume);

}  // namespace latent8
