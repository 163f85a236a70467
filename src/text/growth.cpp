#include "text/growth.h"

#include "base/error.h"

namespace latent8 {

void check_growth(std::string_view rules, std::size_t from, std::size_t bytes) {
  constexpr std::size_t kTimes = 64;   // a space as three bytes is 3 times as many
  constexpr std::size_t kMore = 1024;  // what is put in front of a text
  const std::size_t most = from * kTimes + kMore;
  if (bytes > most)
    throw_error(ErrorCode::kCorrupt, "{}: at most {} bytes made of a text of {} expected, got more", rules,
                most, from);
}

}  // namespace latent8
