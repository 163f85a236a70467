#include "formats/nested_json.h"

#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "formats/json.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

// The library's own parser looks at every member of an object for each new one, and with a callback, which it
// needs to bound the depth, at every element of a list for each object in it.
class OrderedBuilder final : public nlohmann::json_sax<Json> {
 public:
  explicit OrderedBuilder(std::size_t max_depth) : max_depth_(max_depth) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool key(string_t& name) override {
    open_.back().key = std::move(name);
    return true;
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

  bool too_deep() const { return too_deep_; }
  Json take() { return std::move(whole_); }

 private:
  struct Open {
    Json value;                                             // a list or an object
    std::string key;                                        // of the member that comes
    std::unordered_map<std::string, std::size_t> places{};  // of an object's members
  };

  bool open(Json value) {
    too_deep_ = open_.size() == max_depth_;
    if (!too_deep_) open_.push_back({std::move(value), ""});
    return !too_deep_;
  }
  bool close() {
    Json value = std::move(open_.back().value);
    open_.pop_back();
    return add(std::move(value));
  }
  bool add(Json value) {
    if (open_.empty()) {
      whole_ = std::move(value);
      return true;
    }
    Open& in = open_.back();
    if (in.value.is_array()) {
      in.value.push_back(std::move(value));
      return true;
    }
    auto& members = in.value.get_ref<Json::object_t&>();
    const auto [at, is_new] = in.places.emplace(std::move(in.key), members.size());
    if (is_new)
      append_member(in.value, at->first, std::move(value));
    else
      (members.begin() + static_cast<std::ptrdiff_t>(at->second))->second = std::move(value);
    return true;
  }

  std::size_t max_depth_;
  bool too_deep_ = false;
  std::vector<Open> open_;
  Json whole_;
};

}  // namespace

Json parse_nested_json(std::string_view text, const std::string& where, int max_depth) {
  OrderedBuilder builder(static_cast<std::size_t>(max_depth));
  if (Json::sax_parse(text.begin(), text.end(), &builder)) return builder.take();
  if (builder.too_deep())
    throw_error(ErrorCode::kInvalidArgument, "{}: at most {} levels of nesting expected", where, max_depth);
  throw_error(ErrorCode::kInvalidArgument, "{}: JSON in UTF-8 expected, got something else", where);
}

void append_member(Json& object, const std::string& key, Json value) {
  object.get_ref<Json::object_t&>().emplace_back(key, std::move(value));
}

}  // namespace latent8
