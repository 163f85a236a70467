#pragma once
// The arguments of one tool call, from the model's form to JSON. Private to tool_parser.cpp.

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "text/tool_format.h"

namespace latent8 {

// Reads what follows the name of a function. Whatever pieces the text comes in, the same JSON comes out.
class ToolArguments {
 public:
  virtual ~ToolArguments() = default;
  // Takes what it can from the front of held and adds JSON to out. true: the call has ended, held begins
  // behind it.
  virtual bool read(std::string& held, std::string& out) = 0;
  // The answer ends inside the call: what was held back, so that the JSON ends where the answer did.
  virtual void finish(std::string& held, std::string& out) = 0;
  // Text inside the call that belongs to none of its arguments.
  virtual std::string stray() const { return ""; }
};

// in_fence: the arguments stand in a block of Markdown.
// properties: of the function's parameters in JSON schema, or null; must outlive the result.
std::unique_ptr<ToolArguments> make_tool_arguments(ToolFormat format, bool in_fence,
                                                   const nlohmann::ordered_json& properties);

}  // namespace latent8
