#pragma once
// Text of strangers in messages.

#include <cstddef>
#include <string>
#include <string_view>

namespace latent8 {

// Text out of a checkpoint, a template or a request, fit for a terminal and a log line: control characters
// (escape sequences begin with one), characters that turn the direction of writing, and bytes that are no
// UTF-8 become \n, \x1b, \u202e; above `most` bytes the middle goes.
std::string printable(std::string_view text, std::size_t most = 200);

}  // namespace latent8
