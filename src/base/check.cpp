#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace latent8 {

void check_failed(const char* file, int line, const char* expression, const std::string& values) noexcept {
  std::fprintf(stderr,
               "latent8: check failed: %s%s%s at %s:%d\nThis is a bug in latent8; please report it.\n",
               expression, values.empty() ? "" : ": ", values.c_str(), file, line);
  std::abort();
}

}  // namespace latent8
