#pragma once
// JSON as people write it by hand.

#include <string>
#include <string_view>

namespace latent8 {

// `text` with blanks in place of comments (// and /* */) and of commas before a closing bracket, which the
// reference's documents have in their samples; lines and columns stay.
std::string plain_json(std::string_view text);

}  // namespace latent8
