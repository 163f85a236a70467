#pragma once
// Text of files that strangers made, on its way to a terminal or a log.

#include <cstddef>
#include <string>
#include <string_view>

namespace latent8 {

// `text` without anything that a terminal acts on: control characters (but newline and tab), characters that
// turn the direction of writing, and bytes that are not UTF-8 become \x1b, \u202e and the like.
std::string printable(std::string_view text);

// Longer texts without their middle, with the number of bytes that are missing. `most` >= 64.
std::string cut_middle(std::string_view text, std::size_t most);

// What of an error's or a log line's message is shown: printable, and no longer than a screen.
std::string shown_message(std::string_view message);

}  // namespace latent8
