#pragma once
// Nesting bound of the parser. Used by statements.cpp and expressions.cpp only.

#include "text/jinja/parser.h"

namespace latent8::jinja {

// Templates in use nest some twenty deep; each level costs some fifteen stack frames of the parser.
constexpr int kMaxDepth = 200;

class Parser::Depth {
 public:
  explicit Depth(Parser& parser) : parser_(parser) {
    if (++parser_.depth_ > kMaxDepth) {
      throw_error(ErrorCode::kInvalidArgument, "{} line {}: nested more than {} levels deep", parser_.name_,
                  parser_.current().line, kMaxDepth);
    }
  }
  ~Depth() { --parser_.depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  Parser& parser_;
};

}  // namespace latent8::jinja
