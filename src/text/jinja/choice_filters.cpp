// Filters that take a filter, a test or an attribute to each item.

#include "base/printable.h"
#include "text/jinja/functions.h"

namespace latent8::jinja {
namespace {

constexpr std::string_view kChoiceFilters[] = {"map", "select", "reject", "selectattr", "rejectattr"};

// Items that each(item, out) makes of the value's items, as a generator of Python: what goes wrong goes wrong
// when somebody asks for the item.
template <class Each>
Value generate(const Value& value, Each each) {
  Vector<Value> out;
  try {
    if (value.is_undefined() || !value.truthy()) return Value::iterator({});
    for (const Value& item : iterate(value)) each(item, out);
  } catch (const Error& error) {
    step();  // an exhausted budget is an error now
    return Value::iterator(std::move(out), error);
  }
  return Value::iterator(std::move(out));
}

// map(attribute=...[, default=...]) or map('filter', arguments ...).
Value map(const Value& value, const Arguments& arguments) {
  if (arguments.positional.empty()) {
    const BoundArguments bound("map", arguments, {"attribute", "default"});
    const Value* fallback = bound.has(1) ? bound[1] : nullptr;
    return generate(value, [&](const Value& item, Vector<Value>& out) {
      out.push_back(follow_path(item, bound.need(0), fallback));
    });
  }
  const String name = arguments.positional[0].str();
  const Arguments rest = arguments.without_first();
  return generate(
      value, [&](const Value& item, Vector<Value>& out) { out.push_back(call_filter(name, item, rest)); });
}

// An attribute first if by_attribute, then a test and its arguments.
Value select(const Value& value, std::string_view name, const Arguments& arguments) {
  const bool wanted = name.starts_with("select");
  Arguments rest = arguments;
  std::optional<Value> attribute;
  if (name.ends_with("attr")) {
    if (rest.positional.empty()) fail("{}: an attribute expected", name);
    attribute = rest.positional[0];
    rest = rest.without_first();
  }
  String test;
  if (!rest.positional.empty()) {
    test = rest.positional[0].str();
    rest = rest.without_first();
  }
  return generate(value, [&](const Value& item, Vector<Value>& out) {
    const Value part = attribute && !attribute->is_none() ? follow_path(item, *attribute) : item;
    if ((test.empty() ? part.truthy() : call_test(test, part, rest)) == wanted) out.push_back(item);
  });
}

}  // namespace

bool is_choice_filter(std::string_view name) { return among(kChoiceFilters, name); }

std::optional<Value> call_choice_filter(std::string_view name, const Value& value,
                                        const Arguments& arguments) {
  if (name == "map") return map(value, arguments);
  if (is_choice_filter(name)) return select(value, name, arguments);
  return std::nullopt;
}

}  // namespace latent8::jinja
