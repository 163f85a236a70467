#include "ops/copy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace latent8 {

// Pieces of 4 MiB: two huge pages, so that threads rarely touch one page at the same time.
void copy_all(ThreadPool& pool, std::span<const Copy> copies) {
  constexpr std::size_t kPiece = std::size_t{4} << 20;
  std::vector<Copy> pieces;
  for (const Copy& copy : copies)
    for (std::size_t at = 0; at < copy.from.size(); at += kPiece)
      pieces.push_back({copy.to + at, copy.from.subspan(at, std::min(kPiece, copy.from.size() - at))});
  pool.parallel_for(static_cast<std::int64_t>(pieces.size()), 1,
                    [&](std::int64_t begin, std::int64_t end, int) {
                      for (std::int64_t i = begin; i < end; ++i) {
                        const Copy& piece = pieces[static_cast<std::size_t>(i)];
                        std::memcpy(piece.to, piece.from.data(), piece.from.size());
                      }
                    });
}

}  // namespace latent8
