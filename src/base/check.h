#pragma once
// Checks of our own invariants. A failure is a bug in latent8 or in its caller: the process prints the
// expression and aborts. Bad input is Error (latent8/error.h), never a check.

#include <fmt/format.h>

#include <string>

namespace latent8 {
[[noreturn]] void check_failed(const char* file, int line, const char* expression,
                               const std::string& values) noexcept;
}  // namespace latent8

#define LATENT8_CHECK(condition)                                                   \
  do {                                                                             \
    if (!(condition)) ::latent8::check_failed(__FILE__, __LINE__, #condition, ""); \
  } while (false)

#define LATENT8_CHECK_EQ(a, b)                                                \
  do {                                                                        \
    const auto& latent8_a = (a);                                              \
    const auto& latent8_b = (b);                                              \
    if (!(latent8_a == latent8_b))                                            \
      ::latent8::check_failed(__FILE__, __LINE__, #a " == " #b,               \
                              fmt::format("{} != {}", latent8_a, latent8_b)); \
  } while (false)

#ifdef NDEBUG
#define LATENT8_DCHECK(condition) static_cast<void>(0)
#else
#define LATENT8_DCHECK(condition) LATENT8_CHECK(condition)
#endif
