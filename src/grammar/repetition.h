#pragma once
// A bound on what repetition counts blow up.

#include <cstdint>
#include <string>
#include <string_view>

namespace latent8 {

enum class Repetitions : std::uint8_t { kRegex, kEbnf };  // how texts are quoted

inline constexpr double kMaxExpanded = 20000;
// Of an expression that is the whole grammar: XGrammar's time grows with the square there. With 129K tokens
// .{1,100} takes 4 s and .{1,1000} minutes.
inline constexpr double kMaxExpandedAlone = 1000;

// Counts ({n}, {n,m}) multiply where they are nested: written out, an expression may be longer than its text
// by at most `most` elements. Returns by how many, beside `already` of others that count with it.
// where: begins messages. Throws: Error{kInvalidArgument}.
double check_repetitions(std::string_view text, Repetitions in, const std::string& where,
                         double already = 0.0, double most = kMaxExpanded);

// Of ( and [ in each other.
inline constexpr std::size_t kMaxGroups = 100;

}  // namespace latent8
