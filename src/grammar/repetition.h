#pragma once
// A bound on what repetition counts blow up.

#include <cstdint>
#include <string>
#include <string_view>

namespace latent8 {

enum class Repetitions : std::uint8_t { kRegex, kEbnf };  // how texts are quoted

// Counts ({n}, {n,m}) multiply where they are nested: written out, an expression may be longer than its text
// by at most kMaxExpanded elements. Returns by how many, beside `already` of others that count with it.
// where: begins messages. Throws: Error{kInvalidArgument}.
double check_repetitions(std::string_view text, Repetitions in, const std::string& where,
                         double already = 0.0);

inline constexpr double kMaxExpanded = 20000;
// Of ( and [ in each other.
inline constexpr std::size_t kMaxGroups = 100;

}  // namespace latent8
