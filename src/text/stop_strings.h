#pragma once
// Stop strings found in streamed text.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace latent8 {

// Gives text on as soon as it cannot belong to a stop string. The stop string that begins first wins, of
// several that begin at one place the one that is complete first; it and what follows are never given out.
class StopStrings {
 public:
  // Throws: Error{kInvalidArgument} for an empty stop string.
  explicit StopStrings(std::vector<std::string> stops);

  // The part of the text so far that is safe to give out and has not been given out. Empty after a match.
  std::string push(std::string_view text);
  // The text ends here: what was held back.
  std::string finish();
  // The stop string that was found; nullopt so far.
  const std::optional<std::string>& matched() const { return matched_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;  // the longest end of the text that some stop string begins with
  std::optional<std::string> matched_;
};

}  // namespace latent8
