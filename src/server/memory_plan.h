#pragma once
// What a server says about memory before it starts.

#include <cstdint>
#include <string>

#include "formats/checkpoint.h"
#include "latent8/engine.h"

namespace latent8 {

// Bytes of stored weights that one token of an answer reads: of routed experts those that it chooses, of the
// embedding a row, of MTP layers nothing.
double weight_bytes_per_token(const Checkpoint& checkpoint);

// "weights 1.5 GiB mapped; latent cache 64 blocks of 128 tokens, 0.3 GiB, ..." in one line.
std::string memory_plan(const Checkpoint& checkpoint, const EngineInfo& info, bool copied,
                        std::int64_t free_bytes);

// Bytes per second that the checkpoint's largest file is read with, past the page cache where the file system
// lets us; half a second is spent on it. 0 where it cannot be read.
double measured_read_rate(const Checkpoint& checkpoint);

// "" where the mapped weights fit, else what that costs: the tokens per second that the disk allows.
//   read_rate  bytes per second
std::string disk_warning(const Checkpoint& checkpoint, std::int64_t free_bytes, double read_rate);

}  // namespace latent8
