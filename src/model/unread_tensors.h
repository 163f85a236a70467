#pragma once
// Tensors of a checkpoint that nothing reads: a part of the model that would be missing from every answer.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/checkpoint.h"

namespace latent8 {

struct UnreadTensors {
  std::vector<std::string> unknown;   // in rising order, tensors that the description does not list too
  std::vector<std::string> harmless;  // known to change nothing that this program computes
};

// What ModelSchema does not know; with `layers` > 0 the decoder layers behind them are not looked at.
UnreadTensors unread_tensors(const Checkpoint& checkpoint, std::int64_t layers = 0);

// "20 tensors of config.json's model are not read: a, b, c, ..." with up to five names; "" if there are none.
std::string unread_text(const std::vector<std::string>& names);

// Throws: Error{kUnsupported} naming unknown tensors; with `ignore` they are logged instead.
void refuse_unread_tensors(const Checkpoint& checkpoint, bool ignore, std::int64_t layers = 0);

// Whether a tensor that nothing reads changes nothing by its name: what torch modules save of constants,
// scales of fp8 caches, a head that is tied to the embedding, and MTP layers beyond the first.
bool is_harmless(const Checkpoint& checkpoint, std::string_view name);

}  // namespace latent8
