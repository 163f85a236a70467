#pragma once

#include <algorithm>

#include "text/jinja/budget.h"

namespace latent8::jinja {

// Sorts by merging, stable. Unlike std::sort it survives keys without an order (NaN), and its buffer is
// counted.
template <class T, class Less>
void merge_sort(Vector<T>& items, Less less) {
  Vector<T> merged;
  merged.reserve(items.size());
  const auto at = [&](std::size_t i) {
    return items.begin() + static_cast<std::ptrdiff_t>(std::min(i, items.size()));
  };
  for (std::size_t width = 1; width < items.size(); width *= 2) {
    merged.clear();
    for (std::size_t begin = 0; begin < items.size(); begin += 2 * width) {
      auto left = at(begin), right = at(begin + width);
      const auto left_end = right, right_end = at(begin + 2 * width);
      while (left != left_end || right != right_end) {
        const bool take_right = left == left_end || (right != right_end && less(*right, *left));
        merged.push_back(std::move(take_right ? *right++ : *left++));
      }
    }
    items.swap(merged);
  }
}

}  // namespace latent8::jinja
