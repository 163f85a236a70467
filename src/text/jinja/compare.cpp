// Comparison and hashing of values. Each pair that is compared is a step: shared parts are visited again and
// again, so that the work is not bounded by what the values take in memory.

#include <algorithm>
#include <cmath>

#include "text/jinja/value.h"

namespace latent8::jinja {
namespace {

bool ordered_kind(const Value& value) { return value.is_list() || value.is_tuple(); }

bool equal_items(const Vector<Value>& a, const Vector<Value>& b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(),
                    [](const Value& x, const Value& y) { return x.same_as(y) || equal(x, y); });
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.items().size() != b.items().size()) return false;
  return std::all_of(a.items().begin(), a.items().end(), [&](const auto& item) {
    const Value* other = b.find(item.first);
    return other != nullptr && (item.second.same_as(*other) || equal(item.second, *other));
  });
}

// Python compares an integer and a float exactly.
int compare_mixed(std::int64_t a, double b) {
  if (b >= 9223372036854775808.0) return -1;
  if (b < -9223372036854775808.0) return 1;
  const double whole = std::trunc(b);
  const auto integer = static_cast<std::int64_t>(whole);
  if (a != integer) return a < integer ? -1 : 1;
  return b == whole ? 0 : (b > whole ? -1 : 1);
}

bool equal_numbers(const Value& a, const Value& b) {
  if (a.is_float() == b.is_float())
    return a.is_float() ? a.as_double() == b.as_double() : a.as_int() == b.as_int();
  const Value& real = a.is_float() ? a : b;
  const Value& integer = a.is_float() ? b : a;
  return !std::isnan(real.as_double()) && compare_mixed(integer.as_int(), real.as_double()) == 0;
}

bool less_numbers(const Value& a, const Value& b) {
  if (a.is_float() && b.is_float()) return a.as_double() < b.as_double();
  if (!a.is_float() && !b.is_float()) return a.as_int() < b.as_int();
  if (std::isnan(a.as_double()) || std::isnan(b.as_double())) return false;
  return a.is_float() ? compare_mixed(b.as_int(), a.as_double()) > 0
                      : compare_mixed(a.as_int(), b.as_double()) < 0;
}

std::size_t mix(std::size_t seed, std::size_t hash) {
  return (seed ^ (hash + 0x9E3779B97F4A7C15u)) * 0xFF51AFD7ED558CCDu;
}

}  // namespace

bool equal(const Value& a, const Value& b) {
  step();
  if (a.is_number() && b.is_number()) return equal_numbers(a, b);
  if (a.is_string() && b.is_string()) {
    if (a.string().size() != b.string().size()) return false;
    step(a.string().size() / 64);
    return a.string() == b.string();
  }
  if (a.is_sequence() && b.is_sequence()) {
    const Sequence& x = *a.sequence_if();
    const Sequence& y = *b.sequence_if();
    if (x.kind != y.kind) return false;
    if (x.kind == SequenceKind::kIterator || x.kind == SequenceKind::kValues) return &x == &y;
    return equal_items(x.items, y.items);
  }
  if (a.is_dict() && b.is_dict()) return equal_dicts(*a.dict_if(), *b.dict_if());
  if (a.is_string() || b.is_string() || a.is_number() || b.is_number()) return false;
  return a.same_as(b);
}

bool less(const Value& a, const Value& b) {
  step();
  if (a.is_number() && b.is_number()) return less_numbers(a, b);
  if (a.is_string() && b.is_string()) {
    step(std::min(a.string().size(), b.string().size()) / 64);
    return a.string() < b.string();  // UTF-8 keeps the order of code points
  }
  if (ordered_kind(a) && ordered_kind(b) && a.is_tuple() == b.is_tuple()) {
    const auto& x = a.items();
    const auto& y = b.items();
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!x[i].same_as(y[i]) && !equal(x[i], y[i])) return less(x[i], y[i]);
    }
    return x.size() < y.size();
  }
  if (const auto* undefined = a.undefined_if()) fail("{}", undefined->message);
  if (const auto* undefined = b.undefined_if()) fail("{}", undefined->message);
  fail("'<' between {} and {} has no meaning", a.type_name(), b.type_name());
}

std::size_t hash_of(const Value& value) {
  step();
  if (value.is_string()) {
    step(value.string().size() / 64);
    return std::hash<std::string_view>()(value.string());
  }
  if (value.is_float()) {
    const double real = value.as_double();
    const bool whole = real == std::trunc(real) && std::abs(real) < 9.2e18;
    return whole ? std::hash<std::int64_t>()(static_cast<std::int64_t>(real)) : std::hash<double>()(real);
  }
  if (value.is_number()) return std::hash<std::int64_t>()(value.as_int());
  if (value.is_tuple()) {
    std::size_t hash = value.items().size();
    for (const Value& item : value.items()) hash = mix(hash, hash_of(item));
    return hash;
  }
  if (value.is_kind(SequenceKind::kIterator)) return std::hash<const void*>()(value.sequence_if());
  if (value.is_sequence() || value.is_dict()) fail("unhashable type: '{}'", value.type_name());
  return std::hash<const void*>()(value.namespace_if()) ^ std::hash<const void*>()(value.callable_if());
}

}  // namespace latent8::jinja
