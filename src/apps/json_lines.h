#pragma once
// JSON lines, as subcommands read and print them.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <istream>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace latent8 {

using OrderedJson = nlohmann::ordered_json;

// The lines of a file, or of stdin for "-" and /dev/stdin. What is no regular file is refused, so that
// nothing waits for a FIFO that nobody writes to. Throws: Error naming `flag` and the path.
std::unique_ptr<std::istream> open_lines(const char* flag, const std::string& path);

// Calls each(object) for every line that is not blank.
// Throws: Error, starting with "NAME: line N" (from 1), if a line is no JSON object or if each() throws one.
void for_each_json_line(std::istream& in, const std::string& name,
                        const std::function<void(const OrderedJson&)>& each);

// The object that `text` holds. Throws: Error{kInvalidArgument}, starting with `where` if that is not empty,
// if it is no JSON object or nests more than 200 levels deep.
OrderedJson json_object_from(const std::string& text, const std::string& where);
// Throws: Error{kInvalidArgument} naming a key of the object that is not among `known`, and those.
void refuse_unknown_keys(const OrderedJson& object, std::initializer_list<std::string_view> known);

// An array of token ids. Throws: Error{kInvalidArgument}.
std::vector<std::int32_t> token_ids_from(const OrderedJson& value);
// A string. Throws: Error{kInvalidArgument} naming `key`.
std::string text_from(const OrderedJson& value, const char* key);

// ASCII, whatever bytes the strings have. indent: -1 for one line.
std::string json_text(const OrderedJson& value, int indent);
// One line in ASCII, so that no reader can take U+2028 and its like for the end of a line.
std::string to_json_line(const OrderedJson& value);

}  // namespace latent8
